import Glibc
import Synchronization
import Testing

@testable import Penstock

/// What many threads send arrives once, in each thread's order, and exactly one of them wakes the receiver.
@Suite struct InboxDelivery {
    private final class Note: InboxMessage, @unchecked Sendable {  // written before it is sent
        let sender: Int
        let number: Int
        init(_ sender: Int, _ number: Int) {
            self.sender = sender
            self.number = number
        }
    }

    private final class Tally: Sendable {
        let parks = Atomic<Int>(0)
        let wakes = Atomic<Int>(0)
        let received = Locked<[Int: [Int]]>([:])
    }

    @Test(.timeLimit(.minutes(10))) func everyMessageArrivesOnceAndInItsSendersOrder() async throws {
        let (inbox, tally) = (Inbox(), Tally())
        let (senders, each) = (8, 5000)
        // The receiver is a thread, as in life: it parks whenever nothing is there, and waits for its wake-up.
        let receiver = try RingThread(name: "receiver") {
            var count = 0
            while count < senders * each {
                _ = inbox.takeMessages { message in
                    let (sender, number) = ((message as! Note).sender, (message as! Note).number)
                    tally.received.withLock { $0[sender, default: []].append(number) }
                    count += 1
                }
                guard count < senders * each, inbox.park() else { continue }
                let parks = tally.parks.wrappingAdd(1, ordering: .relaxed).newValue
                while tally.wakes.load(ordering: .acquiring) < parks { sched_yield() }
                inbox.unpark()
            }
        }
        await withTaskGroup(of: Void.self) { group in
            for sender in 0..<senders {
                group.addTask {
                    for number in 0..<each {
                        switch inbox.send(Note(sender, number)) {
                        case .parked: tally.wakes.wrappingAdd(1, ordering: .releasing)
                        case .awake: break
                        case .stopped: Issue.record("it never stopped")
                        }
                    }
                }
            }
        }
        receiver.join()
        let received = tally.received.withLock { $0 }
        for sender in 0..<senders { #expect(received[sender] == Array(0..<each)) }
        #expect(tally.parks.load(ordering: .relaxed) == tally.wakes.load(ordering: .relaxed), "one wake-up a sleep")
    }

    @Test func parkAndStopFailWhileSomethingIsThere() {
        let inbox = Inbox()
        #expect(inbox.send(Note(0, 0)) == .awake)
        #expect(!inbox.park() && !inbox.stop() && !inbox.isEmpty)
        _ = inbox.takeMessages { _ in }
        #expect(inbox.isEmpty && inbox.park())
        #expect(inbox.send(Note(0, 1)) == .parked)
        #expect(inbox.send(Note(0, 2)) == .awake)
        var numbers: [Int] = []
        _ = inbox.takeMessages { numbers.append(($0 as! Note).number) }
        #expect(numbers == [1, 2])
        #expect(inbox.stop())
        #expect(inbox.send(Note(0, 3)) == .stopped)
        #expect(inbox.send(Note(0, 4)) == .awake)
        numbers = []
        _ = inbox.takeMessages { numbers.append(($0 as! Note).number) }
        #expect(numbers == [3, 4])
    }

    @Test func messagesAreReleasedOnceTaken() {
        let inbox = Inbox()
        weak var message: Note?
        do {
            let note = Note(0, 0)
            message = note
            _ = inbox.send(note)
        }
        #expect(message != nil)
        _ = inbox.takeMessages { _ in }
        #expect(message == nil)
    }
}
