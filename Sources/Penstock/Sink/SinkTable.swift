import Synchronization

/// The sinks of one queue, by number. They are added and never taken away, so that finding one takes no lock; they go with
/// the queue.
package final class SinkTable: Sendable {
    /// A queue that streams to more devices than this is a mistake.
    package static let capacity = 8

    final class Place: Sendable {
        let device: any SinkDevice
        let deviceID: ObjectIdentifier
        let sink: any StorageSink

        init(_ device: any SinkDevice, _ sink: any StorageSink) {
            self.device = device
            deviceID = ObjectIdentifier(device)
            self.sink = sink
        }
    }

    // Allocated once, freed with the table; the places are written before the count that makes them visible.
    private nonisolated(unsafe) let places: UnsafeMutablePointer<Unmanaged<Place>>
    private let number = Atomic<Int>(0)
    private let adding = Locked(false)  // a value with an address of its own, which the thread sanitizer wants

    init() { places = .allocate(capacity: Self.capacity) }

    deinit {
        for index in 0..<count { places[index].release() }
        places.deallocate()
    }

    var count: Int { number.load(ordering: .acquiring) }

    /// The sink of that number. Valid as long as the queue is.
    package subscript(index: Int) -> any StorageSink { places[index]._withUnsafeGuaranteedRef { $0.sink } }

    /// The number of the device's sink, which is made if there is none.
    func index(
        of device: any SinkDevice, _ make: () throws(StorageError) -> any StorageSink
    ) throws(StorageError) -> Int {
        try adding.withLock { _ throws(StorageError) in
            if let index = find(ObjectIdentifier(device)) { return index }
            let index = count
            guard index < Self.capacity else {
                throw StorageError(
                    .notSupported, .setUp, message: "a queue streams to at most \(Self.capacity) devices")
            }
            places[index] = .passRetained(Place(device, try make()))
            number.store(index + 1, ordering: .releasing)
            return index
        }
    }

    /// The number of the sink of a device that has one.
    func find(_ id: ObjectIdentifier) -> Int? {
        for index in 0..<count where places[index]._withUnsafeGuaranteedRef({ $0.deviceID == id }) { return index }
        return nil
    }
}
