/// Wall and CPU time around a baseline's timed part.
#ifndef CBASELINES_STOPWATCH_H
#define CBASELINES_STOPWATCH_H

#include <stdint.h>
#include <time.h>

#include "baselines.h"

struct stopwatch {
    uint64_t wall;
    uint64_t cpu;
};

static inline uint64_t stopwatch_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline struct stopwatch stopwatch_start(void) {
    struct stopwatch start;
    start.cpu = stopwatch_clock(CLOCK_PROCESS_CPUTIME_ID);
    start.wall = stopwatch_clock(CLOCK_MONOTONIC);
    return start;
}

static inline void stopwatch_stop(struct stopwatch start, struct baseline_result *result) {
    result->wall_ns = stopwatch_clock(CLOCK_MONOTONIC) - start.wall;
    result->cpu_ns = stopwatch_clock(CLOCK_PROCESS_CPUTIME_ID) - start.cpu;
}

#endif
