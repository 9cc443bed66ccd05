// swift-tools-version: 6.2
import PackageDescription

var swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]
// Not for everybody: a newer compiler may warn of more.
if Context.environment["PENSTOCK_WARNINGS"] == "errors" { swiftSettings.append(.treatAllWarnings(as: .error)) }

let package = Package(
    name: "penstock",
    products: [
        .library(name: "Penstock", targets: ["Penstock"]),
        // For hosts in C and C++: see Sources/PenstockC/install.sh.
        .library(name: "penstockc", type: .static, targets: ["PenstockC"]),
        .library(name: "PenstockArchive", targets: ["PenstockArchive"]),
        .library(name: "PenstockCompression", targets: ["PenstockCompression"]),
        .library(name: "PenstockTesting", targets: ["PenstockTesting"]),
        .library(name: "PenstockVulkan", targets: ["PenstockVulkan"]),
        .executable(name: "penstock", targets: ["penstock"]),
        .executable(name: "asset-streamer", targets: ["AssetStreamer"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.1.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.4.0"),
    ],
    targets: [
        .target(name: "CLinux"),
        .target(name: "CLiburing", linkerSettings: [.linkedLibrary("uring")]),
        .target(
            name: "Penstock",
            dependencies: [
                "CLinux", "CLiburing",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "PenstockTesting",
            dependencies: ["CLinux", "Penstock", .product(name: "SystemPackage", package: "swift-system")],
            swiftSettings: swiftSettings
        ),
        .systemLibrary(name: "CDeflate", pkgConfig: "libdeflate", providers: [.apt(["libdeflate-dev"])]),
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .target(
            name: "PenstockCompression",
            dependencies: [
                "CDeflate", "CLinux", "CLZ4", "CZstd", "Penstock",
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: swiftSettings),
        .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
        .target(
            name: "PenstockArchive",
            dependencies: [
                "CLinux", "CXXHash", "Penstock", "PenstockCompression",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings
        ),
        .target(name: "CVulkan"),
        .target(name: "CShaders", exclude: ["gdeflate.comp", "gdeflate.comp.spv"]),
        .target(
            name: "PenstockVulkan",
            dependencies: [
                "CLinux", "CShaders", "CVulkan", "Penstock",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings
        ),
        // The C interface: a header, which the compiler holds its implementation to.
        .systemLibrary(name: "CPenstock", path: "Sources/PenstockC/include"),
        .target(
            name: "PenstockC",
            dependencies: [
                "CLinux", "CPenstock", "Penstock", "PenstockCompression", "PenstockVulkan",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            exclude: ["include", "install.sh"],
            swiftSettings: swiftSettings
        ),
        .target(name: "CBaselines", linkerSettings: [.linkedLibrary("uring")]),
        .executableTarget(
            name: "penstock",
            dependencies: [
                "CBaselines", "CPenstock", "Penstock", "PenstockArchive", "PenstockC", "PenstockCompression",
                "PenstockVulkan",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings
        ),
        .executableTarget(
            name: "AssetStreamer",
            dependencies: [
                "Penstock", "PenstockArchive", "PenstockCompression", "PenstockVulkan",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            path: "Examples/AssetStreamer",
            swiftSettings: swiftSettings
        ),
        // seccomp, mounts and fast byte patterns, which Swift cannot call or a debug build is too slow for.
        .target(name: "CTestShims", path: "Tests/CTestShims"),
        .target(
            name: "TestSupport",
            dependencies: ["CTestShims", "Penstock", .product(name: "SystemPackage", package: "swift-system")],
            path: "Tests/TestSupport", swiftSettings: swiftSettings),
        .testTarget(
            name: "PenstockTests",
            dependencies: [
                "CTestShims", "Penstock", "PenstockTesting", "TestSupport",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings
        ),
        // What libFuzzer runs, and with its corpus the tests do too.
        .target(
            name: "FuzzTargets", dependencies: ["PenstockArchive", "PenstockCompression"], path: "Tests/Fuzz",
            exclude: ["Corpus"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "PenstockCompressionTests",
            dependencies: [
                "FuzzTargets", "Penstock", "PenstockCompression", "PenstockTesting", "TestSupport",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "PenstockArchiveTests",
            dependencies: [
                "CTestShims", "Penstock", "PenstockArchive", "PenstockCompression", "PenstockTesting", "TestSupport",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings
        ),
        // A Vulkan driver that checks every call, for what lavapipe cannot show.
        .target(
            name: "FakeVulkan", dependencies: ["CVulkan"], path: "Tests/FakeVulkan", swiftSettings: swiftSettings),
        .testTarget(
            name: "PenstockVulkanTests",
            dependencies: [
                "CLinux", "CTestShims", "CVulkan", "FakeVulkan", "Penstock", "PenstockCompression", "PenstockTesting",
                "PenstockVulkan", "TestSupport", .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings
        ),
    ],
    swiftLanguageModes: [.v6]
)
