#define _GNU_SOURCE
#include "slot.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* What is said on the socket: how large the area's file is by now, and how long the message at its beginning. */
struct bell {
    uint64_t size, message_bytes;
};

enum { PAGE = 4096 };

bool area_holds(struct area *area, uint64_t bytes) {
    if (bytes <= area->size) return true;
    struct stat file;
    if (fstat(area->file, &file)) return false;
    uint64_t size = file.st_size;
    if (size < bytes) {
        size = aligned(bytes, PAGE);
        /* Not ftruncate: a page that is not there when it is written to would be the end of this process. */
        if (posix_fallocate(area->file, 0, size)) return false;
    }
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, area->file, 0);
    if (at == MAP_FAILED) return false;
    if (area->at) munmap(area->at, area->size);
    area->at = at;
    area->size = size;
    return true;
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
    return whole(in, slot->socket, &bell) && area_holds(&slot->answered, bell.size);
}

bool slot_ask(struct slot *slot, uint64_t message_bytes) {
    struct bell bell = {slot->asked.size, message_bytes};
    return whole(out, slot->socket, &bell) && slot_wait(slot);
}

static void area_close(struct area *area) {
    if (area->at) munmap(area->at, area->size);
    close(area->file);
}

void slot_close(struct slot *slot) {
    area_close(&slot->asked);
    area_close(&slot->answered);
    close(slot->socket);
}
