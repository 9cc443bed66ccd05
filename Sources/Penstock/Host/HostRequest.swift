/// One request of a ``HostQueue``: what a host without tasks asks for.
package struct HostRequest {
    /// Four words of the host's own that travel with a request and come back with its completion: plain data, so that a
    /// request allocates nothing.
    package struct Payload: Sendable {
        package var callback: UInt = 0
        package var userData: UInt = 0
        package var status: UInt = 0
        package var name: UInt = 0

        package init() {}
    }

    /// Where the bytes go to or come from.
    package enum Place {
        /// The host's memory, which must stay valid until the request has ended.
        case memory(UnsafeMutableRawPointer, Int)
        case device(SinkSlice)
    }

    package var isRead: Bool
    package var file: StorageFile
    /// Where in the file, in bytes.
    package var offset: UInt64
    package var place: Place
    /// For ``HostQueue/cancel(tag:mask:)``.
    package var tag: UInt64 = 0
    /// Nanoseconds from the submission until the request gives up; `.max`: never.
    package var deadline: UInt64 = .max
    package var payload = Payload()
    /// Kept until the request has ended, if it is one that waits for others first.
    package var owner: (any AnyObject & Sendable)?

    package init(isRead: Bool, file: StorageFile, offset: UInt64, place: Place) {
        self.isRead = isRead
        self.file = file
        self.offset = offset
        self.place = place
    }

    /// How many bytes.
    package var length: Int {
        switch place {
        case .memory(_, let length): length
        case .device(let slice): slice.count
        }
    }
}

/// How a request of a ``HostQueue`` has ended: plain data.
package struct HostCompletion: Sendable {
    package var failure: StorageError.Code.Kind
    /// The kernel's word, if it was the kernel; positive, else 0.
    package var errno: Int32
    /// A device's word, a `VkResult`, if it was a device, else 0.
    package var deviceResult: Int32
    package var isRead: Bool
    /// Bytes moved: fewer than asked only at the end of the file.
    package var count: Int
    /// What was asked for.
    package var offset: UInt64
    package var length: Int
    package var tag: UInt64
    package var payload: HostRequest.Payload
}
