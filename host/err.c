/* err.c - names of the errors. */
/* SPDX-License-Identifier: MIT */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>

#include "isolua.h"

int isolua_version(void) {
  return ISOLUA_VERSION_NUMBER;
}

const char *isolua_code_name(int code) {
  switch (code) {
#define X(number, name, message)                                                                   \
  case number: return name;
    IL_ERRORS(X)
#undef X
  default: return "unknown";
  }
}

static _Thread_local char wrong[192]; /* "": no argument was */

const char *isolua_code_message(int code) {
  if (code == ISOLUA_INVALID && wrong[0] != '\0') return wrong;
  switch (code) {
#define X(number, name, message)                                                                   \
  case number: return message;
    IL_ERRORS(X)
#undef X
  default: return "unknown error";
  }
}

void il_keep_invalid(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(wrong, sizeof wrong, format, args);
  va_end(args);
}

int il_check_size(size_t size, size_t most, const char *type) {
  if (size > sizeof size && size <= most) return ISOLUA_OK; /* that of a pointer is a mistake */
  return il_invalid("`size` of the options is %zu: set it to sizeof(%s), which is %zu here", size,
                    type, most);
}
