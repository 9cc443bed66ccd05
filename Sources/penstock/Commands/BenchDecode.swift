import ArgumentParser
import Glibc
import Penstock
import PenstockCompression
import PenstockVulkan
import SystemPackage

struct BenchDecode: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode",
        abstract: "GDeflate against libdeflate and others, in memory.",
        discussion: """
            Encodes data of several kinds in chunks of 64 KiB and decodes them again: on one core, on all, and the encoder by \
            itself. An operation is 64 KiB; MiB/s are of uncompressed bytes.
            """)

    @Argument(help: ArgumentHelp("Files or directories to encode as well.", valueName: "path"), completion: .file())
    var paths: [String] = []

    @OptionGroup var rounds: RoundOptions

    @Option(help: ArgumentHelp("Uncompressed data in MiB, and as much of each path.", valueName: "MiB"))
    var size = 32

    @Option(help: ArgumentHelp("The encoders' level, 0 to 12, for what is decoded.", valueName: "level"))
    var level = 9

    @Option(
        help: ArgumentHelp(
            "A library with another GDeflate, such as nvCOMP's libnvcomp_cpu.so, to be held against.", valueName: "path"
        ),
        completion: .file())
    var oracle: String?

    @Option(help: ArgumentHelp("Where the file of encoded chunks goes.", valueName: "path"), completion: .directory)
    var directory = "."

    @Option(help: ArgumentHelp("Run only the cases whose name contains this.", valueName: "text"))
    var only: String?

    mutating func validate() throws {
        guard (4...1024).contains(size) else { throw ValidationError("--size is between 4 MiB and 1 GiB") }
        guard (0...12).contains(level) else { throw ValidationError("--level is between 0 and 12") }
    }

    private static let chunkSize = 64 << 10

    func run() async throws {
        let (report, seed) = rounds.begin()
        report.note("")
        let mix = DecodeCorpus.mix(byteCount: size << 20, seed: seed)
        let given = try paths.map { try DecodeCorpus.files(at: $0, byteCount: size << 20) }
        for corpus in mix + given { try await decodeOnOneCore(corpus, report) }
        let all = DecodeCorpus(name: "all of these", bytes: mix.flatMap(\.bytes))
        try await decodeOnAllCores(all, report)
        try await withStorageQueue { queue in
            for codec in [Zstd(level: 9), LZ4(level: 9), GDeflate(level: level, framing: .page)] as [any Codec] {
                try await decodeInRequests(all, codec, queue, report)
            }
        }
        for level in [1, 6, 9] { try await encode(all, level, report) }
    }

    private func isWanted(_ name: String) -> Bool { !Interrupt.isRequested && (only == nil || name.contains(only!)) }

    private func decodeOnOneCore(_ corpus: DecodeCorpus, _ report: BenchReport) async throws {
        let name = "GDeflate, decode, \(corpus.name), one core"
        guard isWanted(name) else { return }
        func runs(_ codec: any Codec) throws -> CodecRuns {
            try CodecRuns(codec, corpus.bytes, chunkSize: Self.chunkSize)
        }
        func contestant(_ name: String, _ runs: CodecRuns) -> Contestant {
            Contestant("\(name), \(Units.fixed(runs.ratio, decimals: 2)) : 1") { try await runs.decode(threads: 1) }
        }
        var baselines: [BenchCase.Baseline] = []
        if let oracle {
            baselines.append(
                .init(contestant("oracle", try runs(OracleCodec(oracle, level: level))), target: 1.5))
        }
        // Without the reference, this is the figure to reach.
        let deflate = contestant("libdeflate", try runs(Deflate(level: level)))
        baselines.append(.init(deflate, target: oracle == nil ? 0.55 : nil))
        baselines.append(.init(contestant("zstd", try runs(Zstd(level: 9)))))
        baselines.append(.init(contestant("LZ4", try runs(LZ4(level: 9)))))
        let subject = contestant("penstock", try runs(GDeflate(level: level, framing: .page)))
        report.print(try await BenchCase(name, subject: subject, baselines: baselines).run(rounds: rounds.runs))
    }

    private func decodeOnAllCores(_ corpus: DecodeCorpus, _ report: BenchReport) async throws {
        let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let name = "GDeflate, decode, \(corpus.name), \(cores) cores"
        guard isWanted(name) else { return }
        let runs = try CodecRuns(GDeflate(level: level, framing: .page), corpus.bytes, chunkSize: Self.chunkSize)
        let made = BenchCase(
            name, subject: Contestant("\(cores) cores") { try await runs.decode(threads: cores) },
            baselines: [
                .init(Contestant("one core") { try await runs.decode(threads: 1) }, target: 0.9 * Double(cores))
            ])
        report.print(try await made.run(rounds: rounds.runs))
    }

    /// Chunks in a cached file, to host memory, against the codec itself in memory.
    private func decodeInRequests(
        _ corpus: DecodeCorpus, _ codec: any Codec, _ queue: StorageQueue, _ report: BenchReport
    ) async throws {
        let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let name = "requests, \(codec.identifier), cached file to host memory, \(cores) cores"
        guard isWanted(name) else { return }
        let inMemory = try CodecRuns(codec, corpus.bytes, chunkSize: Self.chunkSize)
        let requests = try await RequestRuns(
            queue, codec, corpus.bytes, chunkSize: Self.chunkSize, directory: FilePath(directory))
        let itself = Contestant("the codec in memory, \(cores) cores") { try await inMemory.decode(threads: cores) }
        // The target is for zstd.
        let target = codec is Zstd ? 0.9 : nil
        let entry = Contestant("an archive's entry") { try await requests.readArchive() }
        let one = Contestant("one request for all") { try await requests.readAtOnce() }
        let many = Contestant("32 tasks, 1 MiB each") { try await requests.read(chunksEach: 16, tasks: 32) }
        let single = Contestant("32 tasks, 64 KiB each") { try await requests.read(chunksEach: 1, tasks: 32) }
        for (form, subject, target) in [
            (", an archive's entry with checksums", entry, target), (", one request", one, target),
            (", 1 MiB each", many, nil), (", 64 KiB each", single, nil),
        ] {
            report.print(
                try await BenchCase(name + form, subject: subject, baselines: [.init(itself, target: target)])
                    .run(rounds: rounds.runs))
        }
        if codec is GDeflate { try await decodeOnGPU(corpus, requests, report) }
    }

    /// Pages in a cached file to a GPU's buffer, decoded there, against the workers.
    private func decodeOnGPU(_ corpus: DecodeCorpus, _ requests: RequestRuns, _ report: BenchReport) async throws {
        guard let device = try? GPUDevice() else { return }
        let name = "requests, gdpg, cached file to a buffer of \(device.name)"
        guard isWanted(name) else { return }
        // One made of software takes seconds for more.
        let count = device.isHost ? 32 : (corpus.bytes.count + Self.chunkSize - 1) / Self.chunkSize
        let buffer = try device.makeBuffer(byteCount: min(corpus.bytes.count, count * Self.chunkSize))
        let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        report.print(
            try await BenchCase(
                name,
                subject: Contestant("decoded by the GPU") {
                    try await requests.read(chunks: count, to: buffer, by: .gpu)
                },
                baselines: [
                    .init(
                        Contestant("decoded on \(cores) cores") {
                            try await requests.read(chunks: count, to: buffer, by: .cpu)
                        })
                ]
            ).run(rounds: rounds.runs))
    }

    private func encode(_ corpus: DecodeCorpus, _ level: Int, _ report: BenchReport) async throws {
        let name = "GDeflate, encode, \(corpus.name), level \(level), one core"
        guard isWanted(name) else { return }
        func contestant(_ name: String, _ codec: any Codec) throws -> (Contestant, ratio: Double) {
            let runs = try CodecRuns(codec, corpus.bytes, chunkSize: Self.chunkSize)
            let title = "\(name), \(Units.fixed(runs.ratio, decimals: 3)) : 1"
            return (Contestant(title) { try await runs.encode() }, runs.ratio)
        }
        let subject = try contestant("penstock", GDeflate(level: level, framing: .page))
        var baselines: [BenchCase.Baseline] = []
        var reference: Double?
        if let oracle {
            let other = try contestant("oracle", OracleCodec(oracle, level: level))
            baselines.append(.init(other.0, target: 1))
            reference = other.ratio
        }
        let deflate = try contestant("libdeflate", Deflate(level: level))
        baselines.append(.init(deflate.0))
        report.print(try await BenchCase(name, subject: subject.0, baselines: baselines).run(rounds: rounds.runs))
        if let reference {
            let size = reference / subject.ratio
            report.print(
                .limit(
                    "encoded size, level \(level): \(Units.fixed(size, decimals: 4)) x the oracle's", value: size,
                    atMost: 1.01))
        }
    }
}
