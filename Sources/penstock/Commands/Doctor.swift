import ArgumentParser
struct Doctor: AsyncParsableCommand { @Flag var json = false }
