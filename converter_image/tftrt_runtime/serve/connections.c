/* How tritonserver's connections end: loaded into it by LD_PRELOAD (docs/decisions/0031).
 *
 * tritonserver 2.51 can close a connection only at an age, or with itself, and asks no client first: a request that is on
 * its way then is lost. This library stands between tritonserver and libc's accept4, read and write calls of the sockets
 * of its HTTP and gRPC ports. It copies nothing and changes nothing until `tftrt` says that the server leaves. Then it
 * tells each client to go elsewhere at a moment at which no request can be on its way:
 *
 *   HTTP/1.1  each response gets `Connection: close` (RFC 9112, 9.6); to a readiness probe it is 503;
 *   gRPC      one frame GOAWAY with the largest stream id and NO_ERROR (RFC 9113, 6.8: "a server that is attempting to
 *             gracefully shut down") between two of tritonserver's own frames, while calls are in flight: see may_tell().
 *             tritonserver is not told. It answers what the client has begun; the client closes when that is done.
 *
 * What `tftrt` and this library tell each other is `struct shared`, in a file that both map: connections.py.
 *
 * declared_shapes.c, which is part of the same library, asks it how long a request was.
 *
 * Every call goes straight to the kernel: glibc's wrappers differ in points of cancellation alone, which nobody here uses.
 */
#define _GNU_SOURCE
#include "request.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SERVING, LEAVING, CLOSING, ENDING }; /* connections.py says what they mean */

struct shared {
    _Atomic uint32_t phase;       /* written by tftrt; all else by this library */
    _Atomic uint32_t listening;   /* whether the HTTP port takes connections */
    _Atomic uint32_t connections; /* that are open */
    _Atomic uint32_t calls;       /* HTTP requests and gRPC streams that are not answered yet */
    _Atomic uint32_t unanswered;  /* of these, whose connection ended in the last phase */
};

enum {
    CONNECTIONS = 1 << 16, /* a descriptor above is not followed, and its connection ends with tritonserver */
    STREAMS = 1 << 14,     /* of a connection that are followed at a time */
    HEAD = 4096,           /* bytes of the largest head of a response that is understood; Triton's have some hundred */
    LINE = 256,            /* bytes of a request's first line that are looked at */
    SEARCHED = 1 << 13,    /* bytes of a request that are searched for WORDS: its head, and JSON that has no data in it */
    TICK_MS = 100,         /* how often the phase is looked at */
    YOUNG_MS = 1000,       /* a connection younger than this is left alone: it may be about to make its first calls */
    IDLE_MS = 1000,        /* without a call for this long it is idle */
    HOLD_MS = 100,         /* see may_tell() */
    PATIENCE_MS = 10000,   /* for how long it is gone by that */
};

enum kind { OTHER, HTTP, GRPC };

/* HTTP/2's frames in one direction: a head of 9 bytes, which may come in parts, and a payload that is passed over. */
struct frames {
    uint64_t left; /* bytes of the payload that are still to come */
    uint8_t head[9];
    uint8_t have; /* bytes of the head that have come */
    bool begun;   /* a whole frame was seen */
    bool headers; /* between a HEADERS frame and the last CONTINUATION no other frame may stand */
};

struct connection {
    _Atomic int kind;
    _Atomic bool busy;        /* HTTP: a request has begun and is not answered */
    _Atomic uint64_t most;    /* HTTP: how many elements that request can have */
    _Atomic int64_t answered; /* HTTP: when the last one was, in ms, or the connection began */
    bool ended;        /* it was shut down */

    /* HTTP, of the one thread that has the connection */
    char line[LINE];
    size_t line_length;
    uint64_t received;  /* bytes of the request that tritonserver is reading, or has read last */
    uint8_t matched[2]; /* bytes of each of WORDS that came last; all of it: it was found */
    uint64_t response_left; /* bytes of the response that tritonserver has still to write; CHUNKED: it has chunks */
    char *held;             /* bytes of a changed head that the socket did not take yet */
    size_t held_length;

    /* gRPC. `sending` is held while bytes go out, `counting` while streams are counted; in this order. */
    pthread_mutex_t sending, counting;
    struct frames in, out;
    uint32_t *streams; /* ids of the calls in flight */
    uint32_t open, room, last;
    bool concurrent; /* several were in flight at a time */
    int64_t since;   /* when the connection began, in ms */
    int64_t used;    /* when the last call ended */
    bool told;       /* a GOAWAY was begun */
    int goaway_left; /* bytes of it that the socket did not take yet */
};

#define CHUNKED UINT64_MAX

static const uint8_t GOAWAY[17] = {0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0};
static const char LAST_CHUNK[] = "0\r\n\r\n";

static struct connection table[CONNECTIONS];
static struct shared *shared;
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER; /* a connection begins or ends; the thread looks at all */
static int http_port, grpc_port;
static _Atomic int highest; /* descriptor that was ever followed */
static _Atomic int64_t closing_since;
static _Atomic bool holding; /* some connection's answers */

static uint32_t phase(void) { return atomic_load_explicit(&shared->phase, memory_order_relaxed); }

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The connection of a descriptor, NULL where it is none of ours. */
static struct connection *find(int fd, int kind) {
    if ((unsigned)fd >= CONNECTIONS) return NULL;
    struct connection *connection = &table[fd];
    return atomic_load_explicit(&connection->kind, memory_order_acquire) == kind ? connection : NULL;
}

/* ---- gRPC ------------------------------------------------------------------------------------------------------- */

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, CONTINUATION = 9, END_STREAM = 1, END_HEADERS = 4 };

static void stream_begins(struct connection *connection, uint32_t id) {
    if (id <= connection->last) return; /* trailers */
    connection->last = id;
    if (connection->open == connection->room) {
        uint32_t room = connection->room ? connection->room * 2 : 16;
        uint32_t *streams = room > STREAMS ? NULL : realloc(connection->streams, room * sizeof *streams);
        if (!streams) return;
        connection->streams = streams;
        connection->room = room;
    }
    connection->streams[connection->open++] = id;
    if (connection->open > 1) connection->concurrent = true;
    atomic_fetch_add_explicit(&shared->calls, 1, memory_order_relaxed);
}

static void stream_ends(struct connection *connection, uint32_t id) {
    for (uint32_t i = 0; i < connection->open; i++)
        if (connection->streams[i] == id) {
            connection->streams[i] = connection->streams[--connection->open];
            if (!connection->open && phase() != SERVING) connection->used = now_ms();
            atomic_fetch_sub_explicit(&shared->calls, 1, memory_order_relaxed);
            return;
        }
}

/* Take in bytes that came (`in`) or went. */
static void follow(struct connection *connection, struct frames *frames, bool in, const uint8_t *bytes, size_t length) {
    while (length) {
        if (frames->left) {
            size_t passed = length < frames->left ? length : frames->left;
            frames->left -= passed, bytes += passed, length -= passed;
            continue;
        }
        size_t taken = sizeof frames->head - frames->have;
        if (taken > length) taken = length;
        memcpy(frames->head + frames->have, bytes, taken);
        frames->have += taken, bytes += taken, length -= taken;
        if (frames->have < sizeof frames->head) return;
        const uint8_t *head = frames->head;
        uint8_t type = head[3], flags = head[4];
        uint32_t id = (head[5] & 0x7fu) << 24 | head[6] << 16 | head[7] << 8 | head[8];
        frames->left = head[0] << 16 | head[1] << 8 | head[2];
        frames->have = 0;
        frames->begun = true;
        if (type == HEADERS || type == CONTINUATION) frames->headers = !(flags & END_HEADERS);
        /* A call is over when its client has the trailers, or gave it up. */
        if (in && type == HEADERS) stream_begins(connection, id);
        else if (type == RST_STREAM || (!in && type <= HEADERS && flags & END_STREAM)) stream_ends(connection, id);
    }
}

static void follow_all(struct connection *connection, bool in, const struct iovec *parts, size_t count, size_t length) {
    pthread_mutex_lock(&connection->counting);
    for (size_t i = 0; i < count && length; i++) {
        size_t taken = parts[i].iov_len < length ? parts[i].iov_len : length;
        follow(connection, in ? &connection->in : &connection->out, in, parts[i].iov_base, taken);
        length -= taken;
    }
    pthread_mutex_unlock(&connection->counting);
}

/* When a GOAWAY goes out, so that no call is lost.
 *
 * A client of gRPC's core fails a call whose request does not fit its retry buffer (256 KiB) where the call picked the
 * connection, and the GOAWAY was read before the call became a stream: "Stream removed (GOAWAY received)". Between that
 * reading and the picking of another connection lies about a millisecond, in which no call may begin. The client's threads
 * begin none while they wait for an answer. So:
 *
 *   BEGINS   a client that makes one call at a time is told when a call of it begins;
 *   SENDS    one that was seen to make several, before something is sent to it: nothing is sent for HOLD_MS, in which each of
 *            its threads comes to wait for an answer; then the GOAWAY; and the answers HOLD_MS later. A thread of
 *            tritonserver sleeps meanwhile, hence one connection at a time, and after PATIENCE_MS none any more;
 *   LOOKED_AT  in the last phase, one that is idle. */
enum moment { BEGINS, SENDS, LOOKED_AT };

static bool may_tell(const struct connection *connection, enum moment moment) {
    uint32_t now_phase = phase();
    if (now_phase < CLOSING || connection->told || !connection->out.begun) return false;
    int64_t now = now_ms();
    if (moment == LOOKED_AT) return now_phase == ENDING && !connection->open && now - connection->used > IDLE_MS;
    if (now - connection->since < YOUNG_MS) return false;
    int64_t closing = atomic_load(&closing_since); /* 0 until the thread has seen it */
    bool patient = !closing || now - closing < PATIENCE_MS;
    return moment == (connection->concurrent && patient ? SENDS : BEGINS);
}

static bool tell(struct connection *connection, int fd, enum moment moment) {
    if (phase() < CLOSING) return true;
    pthread_mutex_lock(&connection->counting);
    const struct frames *out = &connection->out;
    bool now = !out->left && !out->have && !out->headers && may_tell(connection, moment);
    pthread_mutex_unlock(&connection->counting);
    bool hold = now && moment == SENDS;
    if (hold && atomic_exchange(&holding, true)) now = hold = false;
    if (now) connection->goaway_left = sizeof GOAWAY;
    if (hold) poll(NULL, 0, HOLD_MS);
    if (connection->goaway_left) {
        const uint8_t *rest = GOAWAY + sizeof GOAWAY - connection->goaway_left;
        long sent = syscall(SYS_sendto, fd, rest, connection->goaway_left, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
        if (sent > 0) connection->goaway_left -= sent, connection->told = true;
        else if (!connection->told) connection->goaway_left = 0; /* nothing of it is out: another moment will do */
    }
    if (hold) {
        if (connection->told) poll(NULL, 0, HOLD_MS);
        atomic_store(&holding, false);
    }
    return !connection->goaway_left;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    struct connection *connection = find(fd, GRPC);
    if (!connection) return syscall(SYS_sendmsg, fd, message, flags);
    pthread_mutex_lock(&connection->sending);
    ssize_t sent = -1;
    int error = EAGAIN; /* the socket is full, and tritonserver is told when it takes more */
    if (tell(connection, fd, SENDS)) {
        sent = syscall(SYS_sendmsg, fd, message, flags);
        error = errno;
        if (sent > 0) follow_all(connection, false, message->msg_iov, message->msg_iovlen, sent);
    }
    pthread_mutex_unlock(&connection->sending);
    errno = error;
    return sent;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    ssize_t received = syscall(SYS_recvmsg, fd, message, flags);
    struct connection *connection = received > 0 ? find(fd, GRPC) : NULL;
    if (!connection) return received;
    uint32_t last = connection->last;
    follow_all(connection, true, message->msg_iov, message->msg_iovlen, received);
    /* Where another thread sends just now, the next call will do. */
    if (connection->last != last && phase() >= CLOSING && !pthread_mutex_trylock(&connection->sending)) {
        tell(connection, fd, BEGINS);
        pthread_mutex_unlock(&connection->sending);
    }
    return received;
}

/* ---- HTTP/1.1 --------------------------------------------------------------------------------------------------- */

static bool starts(const char *text, size_t length, const char *start) {
    return length >= strlen(start) && !strncasecmp(text, start, strlen(start));
}

static void set_busy(struct connection *connection, bool busy) {
    if (!busy && phase() != SERVING) atomic_store(&connection->answered, now_ms());
    if (atomic_exchange(&connection->busy, busy) != busy)
        atomic_fetch_add_explicit(&shared->calls, busy ? 1 : -1, memory_order_relaxed);
}

/* `GET /v2/health/ready`, `GET /v2/models/NAME/ready` and `GET /v2/models/NAME/versions/VERSION/ready`. */
static bool asks_whether_ready(const struct connection *connection) {
    static const char models[] = "GET /v2/models/", ready[] = "/ready";
    const char *line = connection->line;
    size_t length = connection->line_length;
    if (starts(line, length, "GET /v2/health/ready ")) return true;
    if (!starts(line, length, models)) return false;
    const char *name = line + sizeof models - 1, *end = memchr(name, ' ', line + length - name);
    return end && end - name > (long)sizeof ready - 1 && !memcmp(end - sizeof ready + 1, ready, sizeof ready - 1);
}

/* What a request that can have more elements than bytes has in it, in small letters. */
enum { COMPRESSED, ELSEWHERE };
static const char *const WORDS[] = {[COMPRESSED] = "content-encoding:", [ELSEWHERE] = "\"shared_memory_region\""};
static const uint64_t
    LARGEST_RATIO = 1032,   /* to which deflate can make bytes smaller: zlib.net/zlib_tech.html */
    ALWAYS_TAKEN = 1 << 20; /* elements; they take a few MB */

static char small(char byte) { return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte; }

static void search(struct connection *connection, const char *bytes, size_t length) {
    for (int which = 0; which < 2; which++) {
        const char *word = WORDS[which];
        uint8_t *matched = &connection->matched[which];
        for (size_t i = 0; i < length && word[*matched]; i++) {
            if (!*matched) /* most bytes are passed over here */
                while (i < length - 1 && small(bytes[i]) != word[0]) i++;
            *matched = small(bytes[i]) == word[*matched] ? *matched + 1 : small(bytes[i]) == word[0];
        }
    }
}

static __thread bool reads_http; /* this thread is one of those that have HTTP connections */

/* How many elements a request of which so much was read can have at most. */
static uint64_t can_hold(const struct connection *connection) {
    if (!WORDS[ELSEWHERE][connection->matched[ELSEWHERE]]) return UINT64_MAX;
    /* In JSON an element takes two bytes, in binary data one. */
    return connection->received * (WORDS[COMPRESSED][connection->matched[COMPRESSED]] ? 1 : LARGEST_RATIO);
}

/* Which connection a request came by is not known where this is asked, and its thread may have read another one's bytes
 * since (seen under load): so it is the most that the last request of any of them can hold. */
bool can_be_held(uint64_t elements) {
    if (elements <= ALWAYS_TAKEN || !reads_http) return true;
    for (int fd = 0; fd <= atomic_load(&highest); fd++) {
        const struct connection *connection = find(fd, HTTP);
        if (connection && elements <= atomic_load_explicit(&connection->most, memory_order_relaxed)) return true;
    }
    return false;
}

ssize_t readv(int fd, const struct iovec *parts, int count) {
    ssize_t received = syscall(SYS_readv, fd, parts, count);
    struct connection *connection = received > 0 ? find(fd, HTTP) : NULL;
    if (!connection) return received;
    if (!atomic_load_explicit(&connection->busy, memory_order_relaxed)) {
        connection->line_length = 0;
        connection->received = 0;
        memset(connection->matched, 0, sizeof connection->matched);
        set_busy(connection, true);
    }
    reads_http = true;
    size_t left = connection->received < SEARCHED ? SEARCHED - connection->received : 0;
    if (left > (size_t)received) left = received;
    for (int i = 0; left; i++) {
        size_t length = parts[i].iov_len < left ? parts[i].iov_len : left;
        search(connection, parts[i].iov_base, length);
        left -= length;
    }
    connection->received += received;
    atomic_store_explicit(&connection->most, can_hold(connection), memory_order_relaxed);
    if (connection->line_length < LINE) { /* of a body, too: it does not matter */
        size_t taken = LINE - connection->line_length;
        if (taken > parts[0].iov_len) taken = parts[0].iov_len;
        if (taken > (size_t)received) taken = received;
        memcpy(connection->line + connection->line_length, parts[0].iov_base, taken);
        connection->line_length += taken;
    }
    return received;
}

struct response {
    size_t head;     /* bytes of its head, 0 where none was found */
    uint64_t length; /* of head and body, or CHUNKED */
    bool interim;    /* `100 Continue`: another one follows */
};

static struct response understand(const char *text, size_t length) {
    struct response response = {0, 0, false};
    const char *end = starts(text, length, "HTTP/1.") ? memmem(text, length, "\r\n\r\n", 4) : NULL;
    if (!end) return response;
    response.head = response.length = end + 4 - text;
    response.interim = length > 9 && text[9] == '1';
    const char *name = text;
    while ((name = (const char *)memmem(name, end + 2 - name, "\r\n", 2) + 2) < end) {
        size_t left = end - name;
        if (starts(name, left, "Content-Length:")) response.length += strtoull(name + 15, NULL, 10);
        else if (starts(name, left, "Transfer-Encoding:")) response.length = CHUNKED;
    }
    return response;
}

static const char NOT_READY[] = "HTTP/1.1 503 Service Unavailable\r\n", CLOSE[] = "Connection: close\r\n";

/* `made` becomes the head with `Connection: close`, and of a readiness probe with 503; returns its length. */
static size_t change_head(const struct connection *connection, const char *head, size_t length, uint32_t now_phase, char *made) {
    char *end = made;
    for (const char *line = head, *next; line < head + length; line = next) {
        next = (const char *)memmem(line, head + length - line, "\r\n", 2) + 2;
        if (line == head && asks_whether_ready(connection))
            end = mempcpy(end, NOT_READY, sizeof NOT_READY - 1);
        else if (now_phase < CLOSING || !starts(line, next - line, "Connection:"))
            end = mempcpy(end, line, next - line);
        if (line == head && now_phase >= CLOSING) end = mempcpy(end, CLOSE, sizeof CLOSE - 1);
    }
    return end - made;
}

/* Write the parts with another head than their first `head` bytes; the number of bytes of the parts that count as written.
 *
 * Where the socket took a part of the head, the rest is held, and all but the last byte of the old head counts as
 * written: for that byte tritonserver comes again, and what is held goes first. */
static ssize_t write_with_head(struct connection *connection, int fd, const struct iovec *parts, int count, size_t head,
                               const char *made, size_t size) {
    struct iovec changed[count + 1];
    int used = 1;
    size_t passed = head;
    changed[0] = (struct iovec){(void *)made, size};
    for (int i = 0; i < count; i++) {
        size_t skipped = parts[i].iov_len < passed ? parts[i].iov_len : passed;
        passed -= skipped;
        if (parts[i].iov_len > skipped)
            changed[used++] = (struct iovec){(char *)parts[i].iov_base + skipped, parts[i].iov_len - skipped};
    }
    ssize_t written = syscall(SYS_writev, fd, changed, used);
    if (written <= 0) return written;
    if ((size_t)written >= size) return written - size + head;
    connection->held = malloc(size);
    if (!connection->held) {
        errno = EPIPE;
        return -1;
    }
    connection->held_length = size - 1 - written;
    memcpy(connection->held, made + written, connection->held_length);
    return head - 1;
}

/* Write what is held, then the parts; as writev. */
static ssize_t write_held(struct connection *connection, int fd, const struct iovec *parts, int count) {
    while (connection->held) {
        if (connection->held_length) {
            ssize_t written = syscall(SYS_write, fd, connection->held, connection->held_length);
            if (written < 0) return written;
            connection->held_length -= written;
            memmove(connection->held, connection->held + written, connection->held_length);
        }
        if (!connection->held_length) {
            free(connection->held);
            connection->held = NULL;
        }
    }
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct connection *connection = find(fd, HTTP);
    if (!connection) return syscall(SYS_writev, fd, parts, count);
    ssize_t written;
    bool interim = false;
    if (connection->response_left) {
        written = write_held(connection, fd, parts, count);
    } else {
        char start[HEAD], made[HEAD + sizeof NOT_READY + sizeof CLOSE];
        size_t length = 0;
        for (int i = 0; i < count && length < HEAD; i++) {
            size_t taken = parts[i].iov_len < HEAD - length ? parts[i].iov_len : HEAD - length;
            memcpy(start + length, parts[i].iov_base, taken);
            length += taken;
        }
        struct response response = understand(start, length);
        interim = response.interim;
        bool without_body = starts(connection->line, connection->line_length, "HEAD ");
        connection->response_left = without_body ? response.head : response.length;
        uint32_t now_phase = phase();
        bool change = now_phase >= CLOSING || (now_phase == LEAVING && asks_whether_ready(connection));
        if (response.head && !interim && change) {
            size_t size = change_head(connection, start, response.head, now_phase, made);
            written = write_with_head(connection, fd, parts, count, response.head, made, size);
        } else {
            written = syscall(SYS_writev, fd, parts, count);
        }
        if (written <= 0) connection->response_left = 0; /* the whole of it comes again */
    }
    if (written <= 0) return written;
    int error = errno;
    if (connection->response_left != CHUNKED) {
        connection->response_left -= (uint64_t)written < connection->response_left ? (uint64_t)written : connection->response_left;
    } else {
        /* As tritonserver writes them, the last chunk ends a write. */
        const struct iovec *last = &parts[count - 1];
        size_t whole = 0, end = sizeof LAST_CHUNK - 1;
        for (int i = 0; i < count; i++) whole += parts[i].iov_len;
        if ((size_t)written == whole && last->iov_len >= end &&
            !memcmp((char *)last->iov_base + last->iov_len - end, LAST_CHUNK, end))
            connection->response_left = 0;
    }
    if (!connection->response_left && !interim) set_busy(connection, false);
    errno = error;
    return written;
}

/* ---- connections begin and end ---------------------------------------------------------------------------------- */

static int local_port(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (syscall(SYS_getsockname, fd, &address, &length)) return 0;
    if (address.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

int listen(int fd, int backlog) {
    int result = syscall(SYS_listen, fd, backlog);
    if (!result && shared && local_port(fd) == http_port) atomic_store(&shared->listening, 1);
    return result;
}

int accept4(int listening, struct sockaddr *address, socklen_t *length, int flags) {
    int fd = syscall(SYS_accept4, listening, address, length, flags);
    if (!shared || fd < 0 || fd >= CONNECTIONS) return fd;
    int port = local_port(fd);
    int kind = port == http_port ? HTTP : port == grpc_port ? GRPC : OTHER;
    if (kind == OTHER) return fd;
    struct connection *connection = &table[fd];
    pthread_mutex_lock(&opening);
    memset(connection, 0, sizeof *connection);
    pthread_mutex_init(&connection->sending, NULL);
    pthread_mutex_init(&connection->counting, NULL);
    connection->in.left = 24; /* the client's preface (RFC 9113, 3.4) */
    connection->since = connection->used = now_ms();
    atomic_store(&connection->answered, connection->since);
    if (fd > atomic_load(&highest)) atomic_store(&highest, fd);
    atomic_fetch_add(&shared->connections, 1);
    atomic_store_explicit(&connection->kind, kind, memory_order_release);
    pthread_mutex_unlock(&opening);
    return fd;
}

int close(int fd) {
    if ((unsigned)fd < CONNECTIONS && atomic_load_explicit(&table[fd].kind, memory_order_relaxed) != OTHER) {
        struct connection *connection = &table[fd];
        pthread_mutex_lock(&opening);
        if (atomic_exchange(&connection->kind, OTHER) != OTHER) {
            uint32_t calls = connection->open + atomic_load(&connection->busy);
            atomic_fetch_sub(&shared->calls, calls);
            if (phase() == ENDING) atomic_fetch_add(&shared->unanswered, calls);
            atomic_fetch_sub(&shared->connections, 1);
            free(connection->streams);
            free(connection->held);
        }
        pthread_mutex_unlock(&opening);
    }
    return syscall(SYS_close, fd);
}

/* In the last phase: end what is idle. `opening` is held. */
static void look_at(struct connection *connection, int fd) {
    int kind = atomic_load(&connection->kind);
    if (kind == GRPC && !pthread_mutex_trylock(&connection->sending)) {
        tell(connection, fd, LOOKED_AT);
        pthread_mutex_unlock(&connection->sending);
    }
    int unread = 0;
    if (kind == HTTP && !connection->ended && !atomic_load(&connection->busy) &&
        now_ms() - atomic_load(&connection->answered) > IDLE_MS && !ioctl(fd, FIONREAD, &unread) && !unread) {
        connection->ended = true;
        syscall(SYS_shutdown, fd, SHUT_RDWR); /* tritonserver reads the end, and closes it */
    }
}

static void *look_at_all(void *nothing) {
    (void)nothing;
    uint32_t before = SERVING;
    for (;;) {
        poll(NULL, 0, TICK_MS);
        uint32_t now_phase = phase();
        if (now_phase < CLOSING) atomic_store(&closing_since, 0);
        else if (before < CLOSING) atomic_store(&closing_since, now_ms());
        before = now_phase;
        if (now_phase != ENDING) continue;
        pthread_mutex_lock(&opening);
        for (int fd = 0; fd <= atomic_load(&highest); fd++)
            if (atomic_load_explicit(&table[fd].kind, memory_order_relaxed) != OTHER) look_at(&table[fd], fd);
        pthread_mutex_unlock(&opening);
    }
    return NULL;
}

static void fail(const char *what) {
    fprintf(stderr, "error: %s: %s\n", what, strerror(errno));
    _exit(1);
}

/* Only in tritonserver itself: what it starts is not given the library. */
__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TFTRT_CONNECTIONS"), *http = getenv("TFTRT_HTTP_PORT"), *grpc = getenv("TFTRT_GRPC_PORT");
    if (!path || !http || !grpc) return; /* `tftrt serve` only looks whether it can be loaded */
    http_port = atoi(http), grpc_port = atoi(grpc);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) fail(path);
    shared = mapped;
    syscall(SYS_close, fd);
    const char *inherited = getenv("TFTRT_LD_PRELOAD");
    if (inherited && *inherited) setenv("LD_PRELOAD", inherited, 1);
    else unsetenv("LD_PRELOAD");
    unsetenv("TFTRT_CONNECTIONS");
    /* Signals are for tritonserver's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, look_at_all, NULL))) fail("a thread for connections");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
