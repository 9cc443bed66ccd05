#include "team.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "stopwatch.h"

enum gate { GATE_SHUT, GATE_OPEN, GATE_CANCELLED };

// Not a pthread_barrier_t: a barrier could not let the threads go if one of them cannot be created.
struct team {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum gate gate;
    unsigned ready;
    unsigned done;
    team_work work;
    void *context;
};

struct member {
    struct team *team;
    unsigned index;
    int status;
    pthread_t thread;
};

static void await_count(struct team *team, const unsigned *count, unsigned target) {
    pthread_mutex_lock(&team->lock);
    while (*count < target) pthread_cond_wait(&team->changed, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

static void set_gate(struct team *team, enum gate gate) {
    pthread_mutex_lock(&team->lock);
    team->gate = gate;
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->lock);
}

static void *member_main(void *argument) {
    struct member *self = argument;
    struct team *team = self->team;

    pthread_mutex_lock(&team->lock);
    team->ready++;
    pthread_cond_broadcast(&team->changed);
    while (team->gate == GATE_SHUT) pthread_cond_wait(&team->changed, &team->lock);
    enum gate gate = team->gate;
    pthread_mutex_unlock(&team->lock);
    if (gate == GATE_CANCELLED) return NULL;

    self->status = team->work(team->context, self->index);

    pthread_mutex_lock(&team->lock);
    team->done++;
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->lock);
    return NULL;
}

int team_run(unsigned threads, team_work work, void *context, struct baseline_result *result) {
    if (threads == 0) return -EINVAL;
    struct team team = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
        .work = work,
        .context = context,
    };
    struct member *members = calloc(threads, sizeof *members);
    if (!members) return -ENOMEM;

    int status = 0;
    unsigned created = 1;
    for (; created < threads; created++) {
        members[created] = (struct member){.team = &team, .index = created};
        status = -pthread_create(&members[created].thread, NULL, member_main, &members[created]);
        if (status < 0) break;
    }

    if (status < 0) {
        set_gate(&team, GATE_CANCELLED);
    } else {
        await_count(&team, &team.ready, threads - 1);
        struct stopwatch start = stopwatch_start();
        set_gate(&team, GATE_OPEN);
        status = work(context, 0);
        await_count(&team, &team.done, threads - 1);
        stopwatch_stop(start, result);
    }

    for (unsigned index = 1; index < created; index++) {
        pthread_join(members[index].thread, NULL);
        if (status == 0) status = members[index].status;
    }
    free(members);
    return status;
}
