#define _GNU_SOURCE
#include "slot.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* What is said on the socket, in either direction. */
struct bell {
    uint64_t backed; /* bytes that there is memory for */
    uint64_t times;  /* that memory was given back */
    uint64_t place;  /* of a question, how long its message is; of an answer, where it begins */
};

enum { PAGE = 4096 };

void slot_open(struct slots *slots, struct slot *slot, int socket, int file) {
    slot->socket = socket;
    slot->file = file;
    fcntl(socket, F_SETFD, FD_CLOEXEC);
    fcntl(file, F_SETFD, FD_CLOEXEC);
    pthread_mutex_lock(&slots->lock);
    slot->next = slots->first;
    slots->first = slot;
    pthread_mutex_unlock(&slots->lock);
}

void slot_close(struct slots *slots, struct slot *slot) {
    pthread_mutex_lock(&slots->lock);
    struct slot **at = &slots->first;
    while (*at && *at != slot) at = &(*at)->next;
    if (*at) *at = slot->next;
    pthread_mutex_unlock(&slots->lock);
    if (slot->at) munmap(slot->at, slot->mapped);
    close(slot->file);
    close(slot->socket);
}

void slot_busy(struct slots *slots, struct slot *slot, bool busy) {
    pthread_mutex_lock(&slots->lock);
    slot->busy = busy;
    pthread_mutex_unlock(&slots->lock);
}

void slots_give_back(struct slots *slots) {
    pthread_mutex_lock(&slots->lock);
    for (struct slot *slot = slots->first; slot; slot = slot->next) {
        if (slot->busy || !slot->backed) continue;
        if (fallocate(slot->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, slot->backed)) continue;
        slot->backed = 0;
        slot->times++;
    }
    pthread_mutex_unlock(&slots->lock);
}

/* Before it is written to, for a page that is not there when it is would be the end of this process. */
static bool back(struct slot *slot, uint64_t bytes) {
    int failed;
    do failed = posix_fallocate(slot->file, 0, bytes);
    while (failed == EINTR);
    return !failed;
}

static bool map(struct slot *slot, uint64_t bytes) {
    if (bytes <= slot->mapped) return true;
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, slot->file, 0);
    if (at == MAP_FAILED) return false;
    if (slot->at) munmap(slot->at, slot->mapped);
    slot->at = at;
    slot->mapped = bytes;
    return true;
}

bool slot_holds(struct slots *slots, struct slot *slot, uint64_t bytes) {
    if (bytes <= slot->backed) return true;
    uint64_t size = aligned(bytes, PAGE);
    if (!back(slot, size)) {
        slots_give_back(slots);
        if (!back(slot, size)) return false;
    }
    slot->backed = size;
    return map(slot, size);
}

static bool whole(ssize_t (*move)(int, struct bell *, size_t, int), int socket, struct bell *bell) {
    ssize_t moved;
    do moved = move(socket, bell, sizeof *bell, MSG_WAITALL | MSG_NOSIGNAL);
    while (moved < 0 && errno == EINTR);
    return moved == sizeof *bell;
}

static ssize_t out(int socket, struct bell *bell, size_t bytes, int flags) { return send(socket, bell, bytes, flags); }
static ssize_t in(int socket, struct bell *bell, size_t bytes, int flags) { return recv(socket, bell, bytes, flags); }

bool slot_wait(struct slot *slot) {
    struct bell bell;
    if (!whole(in, slot->socket, &bell) || !map(slot, bell.backed)) return false;
    slot->backed = bell.backed;
    slot->answer = bell.place;
    return true;
}

bool slot_ask(struct slot *slot, uint64_t message_bytes) {
    struct bell bell = {slot->backed, slot->times, message_bytes};
    return whole(out, slot->socket, &bell) && slot_wait(slot);
}
