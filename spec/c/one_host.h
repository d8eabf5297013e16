/* one_host.h - for programs whose tests each have one host, and send it messages. */
/* SPDX-License-Identifier: MIT */
#ifndef ONE_HOST_H
#define ONE_HOST_H

#include "embed.h"

static isolua_host *host; /* of the test that runs */

static inline bool open_host(void) {
  host = embed_open(NULL);
  return host != NULL;
}

static inline void close_host(void) {
  embed_close(host);
}

/* NULL: failed, and checked. */
static inline isolua_message *new_message(void) {
  isolua_message *m = NULL;
  CHECK_INT(isolua_message_new(&m), ISOLUA_OK);
  return m;
}

#endif
