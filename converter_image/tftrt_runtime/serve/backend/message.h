/* Messages are rows of 64-bit integers; a text is its length and its bytes, filled up to whole integers. */
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline uint64_t next(const char **at) {
    uint64_t value;
    memcpy(&value, *at, sizeof value);
    *at += sizeof value;
    return value;
}

/* A copy that ends with a zero; NULL without memory for it. */
static inline char *next_text(const char **at) {
    uint64_t length = next(at);
    char *text = malloc(length + 1);
    if (text) {
        memcpy(text, *at, length);
        text[length] = 0;
    }
    *at += (length + 7) / 8 * 8;
    return text;
}

static inline void put(char **at, uint64_t value) {
    memcpy(*at, &value, sizeof value);
    *at += sizeof value;
}
