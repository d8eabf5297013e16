/* vm_host.h - what a host is handed of the layer that knows Lua; no Lua types here. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_VM_HOST_H
#define IL_VM_HOST_H

#include "isolua.h"

/* A never-used Lua state for the calling thread (il_workers.make); NULL when there is no memory. */
void *il_spare_make(void *host);
void il_spare_drop(void *spare);

/* What every state of the host relies on. 0 or ISOLUA_MEMORY. */
int il_vm_host_init(isolua_host *host);

/* The handler of the kill signal, on the thread that is to be interrupted. */
void il_vm_on_signal(void);
/* Does the calling thread run an isolate of that host, other than main? */
bool il_vm_is_inside(const isolua_host *host);

#endif
