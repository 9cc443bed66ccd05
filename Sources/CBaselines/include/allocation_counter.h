/// Counts the heap allocations of the whole process, so that "no allocation per request" can be measured.
///
/// The executable that links this defines malloc and its relatives itself and passes each call on to glibc; being in
/// the executable, the definitions serve every library in the process, the Swift runtime included, shared or static.
/// While counting is off, the price is one relaxed load for each allocation.
#ifndef CBASELINES_ALLOCATION_COUNTER_H
#define CBASELINES_ALLOCATION_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

/// Whether this build can count: not under a sanitizer, which needs malloc for itself, nor without glibc.
bool allocation_counter_available(void);

/// Sets the count to zero and starts counting.
void allocation_counter_start(void);

/// Stops counting and returns the number of allocations (and reallocations) since the start.
uint64_t allocation_counter_stop(void);

#endif
