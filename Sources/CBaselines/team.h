/// Runs the same work on several threads and times only the work.
#ifndef CBASELINES_TEAM_H
#define CBASELINES_TEAM_H

#include "baselines.h"

/// One thread's share: returns 0 or -errno.
typedef int (*team_work)(void *context, unsigned index);

/// Runs `work` with every index below `threads`, index 0 on the calling thread, so that a team of one is a plain loop
/// without a switch. The clock runs from when all threads stand ready to when the last one is done.
/// Fills in only the times of `result`. Returns 0, or -errno of the failed share with the lowest index.
int team_run(unsigned threads, team_work work, void *context, struct baseline_result *result);

#endif
