/* err.c - names of the errors. */
/* SPDX-License-Identifier: MIT */
#include "err.h"

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

const char *isolua_code_message(int code) {
  switch (code) {
#define X(number, name, message)                                                                   \
  case number: return message;
    IL_ERRORS(X)
#undef X
  default: return "unknown error";
  }
}
