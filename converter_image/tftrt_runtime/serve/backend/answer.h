/* What the process that runs the model answers, and the responses to clients. */
#pragma once
#include "question.h"

/* Of a batch: answers; ask each request alone; there was no room for the answers. Else an error_code, for each request. */
enum { ANSWERED = 0, APART = -1, NO_ROOM = -2 };

/* Send a request an error, which is deleted; the code that its client gets. */
int answer_refuse(Request *request, Error *error);

/* The verdict on a batch, which the message in the slot begins with, and whether the model was called for it. */
int64_t answer_verdict(const struct slot *slot, bool *called);

/* The error of a batch that has one, for each of its requests. */
Error *answer_error(const struct slot *slot);

/* Send the requests of an answered batch their parts, and write down with which code.
 *
 * Behind these there is of each output how many dimensions it has, these of the whole batch, where its tensor
 * begins, and how many bytes of it are each request's.
 */
void answer_send(
    struct question *questions, uint32_t count, const struct signature *signature, const struct slot *slot);
