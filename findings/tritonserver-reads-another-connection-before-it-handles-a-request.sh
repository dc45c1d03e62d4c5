#!/usr/bin/env bash
# tritonserver 2.51.0, HTTP: its thread reads from other connections between a request's last byte and that request's handler.
#
# Expected: who has read the last byte of a request handles it next, so that what a library preloaded into tritonserver
# saw of a thread's last read is the request whose handler runs. We had bounded what a request may declare by that.
# Seen (2026-11-30): with one thread for HTTP and eight clients that send 2 MB each, the last thing that this thread had
# read before a handler began was another client's request in 195 of 200 calls. With one client it never was. So a
# connection is read from in one turn of the event loop, and what was read is handled in a later one: whoever stands
# between the two, such as a preloaded library, cannot tell by the thread whose request is being handled.
#
#   PYTHON=/path/to/python3.11 findings/tritonserver-reads-another-connection-before-it-handles-a-request.sh
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/models"

"${PYTHON:-python3.11}" -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet --no-deps nvidia-pytriton==0.7.0 ziglang==0.15.1

cat > "$folder/seen.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* The model that each connection asks for, by its first bytes, and the one of the connection that a thread read last. */
static const char asks[] = "POST /v2/models/";
static char model_of[65536][16];
static __thread char last[16];
static long same, other;

static void note(int descriptor, const char *bytes, size_t length) {
    if (length > sizeof asks + 15 && memcmp(bytes, asks, sizeof asks - 1) == 0) {
        const char *name = bytes + sizeof asks - 1;
        snprintf(model_of[descriptor], 16, "%.*s", (int)strcspn(name, "/"), name);
    }
    if (model_of[descriptor][0]) strcpy(last, model_of[descriptor]);
}

ssize_t readv(int descriptor, const struct iovec *vector, int count) {
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "readv");
    ssize_t length = real(descriptor, vector, count);
    if (length > 0) {
        size_t first = (size_t)length < vector[0].iov_len ? (size_t)length : vector[0].iov_len;
        note(descriptor, vector[0].iov_base, first);
    }
    return length;
}

ssize_t read(int descriptor, void *bytes, size_t most) {
    ssize_t (*real)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    ssize_t length = real(descriptor, bytes, most);
    if (length > 0) note(descriptor, bytes, (size_t)length);
    return length;
}

/* What the handler of an inference request asks first. */
void *TRITONSERVER_ServerModelTransactionProperties(void *server, const char *name, int64_t version, uint32_t *flags,
                                                    void **none) {
    void *(*real)(void *, const char *, int64_t, uint32_t *, void **) =
        dlsym(RTLD_NEXT, "TRITONSERVER_ServerModelTransactionProperties");
    if (strcmp(last, name) == 0) same++; else other++;
    FILE *file = fopen(getenv("SEEN"), "w");
    fprintf(file, "%ld %ld\n", same, other);
    fclose(file);
    return real(server, name, version, flags, none);
}
C
"$folder/environment/bin/python" -m ziglang cc -target x86_64-linux-gnu.2.17 -shared -fPIC -O1 -o "$folder/seen.so" "$folder/seen.c" -ldl

cat > "$folder/ask.py" <<'PYTHON'
import glob, os, pathlib, socket, subprocess, sys, threading, time

folder = pathlib.Path(sys.argv[1])
(binary,) = glob.glob(str(folder / "environment/lib/python3*/site-packages/pytriton/tritonserver/bin/tritonserver"))
libraries = [str(pathlib.Path(binary).parents[3] / "nvidia_pytriton.libs"), os.path.dirname(os.path.realpath(sys.executable))]
SIZE, TIMES = 2_000_000, 25

def ask(port, name):
    head = f"POST /v2/models/{name}/infer HTTP/1.1\r\nHost: here\r\nContent-Length: {SIZE}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(TIMES):
            connection.sendall(head + b" " * SIZE)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(65536)
            begin, _, body = answer.partition(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in begin.split(b"\r\n") if line.lower().startswith(b"content-length"))
            while len(body) < length:
                body += connection.recv(65536)

def seen(clients, port):
    file = folder / f"seen-{clients}"
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "LD_PRELOAD": str(folder / "seen.so"), "SEEN": str(file)}
    command = [binary, f"--model-repository={folder / 'models'}", "--exit-on-error=false", "--allow-grpc=false",
               "--allow-metrics=false", f"--http-port={port}", "--http-address=127.0.0.1", "--http-thread-count=1"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=open(folder / "log", "w"))
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert server.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(0.1)
        threads = [threading.Thread(target=ask, args=(port, f"client-{number}")) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        server.terminate()
        server.wait()
    same, other = map(int, file.read_text().split())
    print(f"tritonserver 2.51.0, {clients} clients at once, {same + other} requests of {SIZE / 1e6:g} MB: "
          f"the thread had last read from another connection before {other} of their handlers")
    assert same + other == clients * TIMES, "not what was seen before"
    return other

assert seen(1, 18391) == 0, "not what was seen before"
assert seen(8, 18392) > 0, "not what was seen before"
PYTHON
"$folder/environment/bin/python" "$folder/ask.py" "$folder"
