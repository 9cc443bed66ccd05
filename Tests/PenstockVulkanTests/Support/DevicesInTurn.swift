import Testing

/// Tests that make a Vulkan device, one after another.
///
/// The validation layer of Vulkan 1.3.239 looks its instances and devices up in tables that it changes without a lock, so that
/// making one crashes who uses another; and tests that wait for one another's processors by looking again and again leave none
/// to what they wait for.
@Suite(.serialized) enum DevicesInTurn {}
