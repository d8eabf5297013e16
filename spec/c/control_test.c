/* control_test.c - pauses by keys, pings, and listeners: before the end, after it, and amid it. */
/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "isolate.h"

#define SOON ((int64_t)20 * ISOLUA_SECOND)

/* The control of an isolate without a thread: what that would do is done here. */
typedef struct rig {
  isolua_host *host;
  isolua_future *gone;
  il_control control;
} rig;

static il_msg *exit_message(isolua_future *gone) {
  unsigned char data[2] = {'e', 0};
  int taken;
  (void)gone;
  return il_msg_new(data, sizeof data, sizeof data, NULL, 0, &taken);
}

static bool open_rig(rig *r) {
  isolua_host_options options = {.size = sizeof options, .spares = -1};
  if (!CHECK_INT(isolua_host_open(&options, &r->host), ISOLUA_OK)) return false;
  r->gone = il_future_new(r->host, NULL);
  if (!CHECK(r->gone != NULL)) return false;
  return CHECK_INT(il_control_init(&r->control, r->gone, exit_message), ISOLUA_OK);
}

static void close_rig(rig *r) {
  il_control_fini(&r->control);
  il_future_release(r->gone);
  CHECK_INT(isolua_host_close(r->host, SOON), ISOLUA_OK);
}

/* -- Pauses ------------------------------------------------------------------------------------ */

static il_key text_key(const char *text) {
  il_key key = {text, 0};
  return key;
}

static il_key number_key(long long n) {
  il_key key = {NULL, n};
  return key;
}

static int pause_by(rig *r, il_key key) {
  return il_control_pause(&r->control, &key);
}

static void resume_by(rig *r, il_key key) {
  il_control_resume(&r->control, &key);
}

static int pauses(rig *r) {
  return atomic_load(&r->control.pauses);
}

static void pauses_count_keys(void) {
  rig r;
  char text[] = "key";
  if (!open_rig(&r)) return;
  CHECK_INT(pauses(&r), 0);
  CHECK_INT(pause_by(&r, text_key(text)), ISOLUA_OK);
  text[0] = 'X'; /* the text was copied */
  CHECK_INT(pause_by(&r, text_key("key")), ISOLUA_OK);
  CHECK_INT(pauses(&r), 1);
  CHECK_INT(pause_by(&r, number_key(1)), ISOLUA_OK);
  CHECK_INT(pause_by(&r, number_key(0)), ISOLUA_OK);
  CHECK_INT(pause_by(&r, text_key("")), ISOLUA_OK);
  CHECK_INT(pause_by(&r, text_key("1")), ISOLUA_OK);
  CHECK_INT(pauses(&r), 5);
  resume_by(&r, text_key("unknown"));
  resume_by(&r, number_key(2));
  CHECK_INT(pauses(&r), 5);
  resume_by(&r, text_key("key"));
  resume_by(&r, text_key("key"));
  CHECK_INT(pauses(&r), 4);
  resume_by(&r, number_key(1));
  resume_by(&r, text_key(""));
  resume_by(&r, text_key("1"));
  CHECK_INT(pauses(&r), 1);
  resume_by(&r, number_key(0));
  CHECK_INT(pauses(&r), 0);
  close_rig(&r);
}

static void resumes_all(void) {
  rig r;
  if (!open_rig(&r)) return;
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 100; i++) {
      CHECK_INT(pause_by(&r, number_key(i)), ISOLUA_OK);
      CHECK_INT(pause_by(&r, text_key(i % 2 == 0 ? "even" : "odd")), ISOLUA_OK);
    }
    CHECK_INT(pauses(&r), 102);
    if (round < 2) il_control_resume(&r.control, NULL);
  }
  close_rig(&r); /* it frees the keys that are left */
}

static void pauses_no_more(void) {
  rig r;
  if (!open_rig(&r)) return;
  CHECK_INT(pause_by(&r, text_key("k")), ISOLUA_OK);
  il_control_end(&r.control);
  CHECK_INT(pauses(&r), 0);
  CHECK_INT(pause_by(&r, text_key("k")), ISOLUA_CLOSED);
  resume_by(&r, text_key("k"));
  il_control_resume(&r.control, NULL);
  CHECK_INT(pauses(&r), 0);
  close_rig(&r);
}

static void pause_and_resume(int index, void *arg) {
  rig *r = arg;
  char text[] = "key 0";
  text[4] = (char)('0' + index);
  for (int i = 0; i < check_scale(5000, 500); i++) {
    if (!CHECK_INT(pause_by(r, text_key(text)), ISOLUA_OK)) return;
    if (!CHECK_INT(pause_by(r, number_key(index * 1000 + i % 40)), ISOLUA_OK)) return;
    if (!CHECK(pauses(r) >= 2)) return;
    resume_by(r, number_key(index * 1000 + i % 40));
    resume_by(r, text_key(text));
  }
}

static void pauses_at_once(void) {
  rig r;
  if (!open_rig(&r)) return;
  check_parallel(4, pause_and_resume, &r);
  CHECK_INT(pauses(&r), 0);
  close_rig(&r);
}

/* -- Pings ------------------------------------------------------------------------------------- */

static isolua_future *ping(rig *r, bool idle) {
  isolua_future *answer = il_future_new(r->host, NULL);
  if (!CHECK(answer != NULL)) return NULL;
  CHECK_INT(il_control_ask(&r->control, answer, idle ? IL_PING_IDLE : IL_PING, NULL), ISOLUA_OK);
  return answer;
}

/* As the isolate's thread does. */
static void answer_all(il_control *c, enum il_takes which) {
  il_question *q;
  while ((q = il_control_take(c, which)) != NULL) {
    il_result r = {ISOLUA_OK, NULL, NULL, NULL};
    il_question_settle(c, q, &r);
  }
}

static void answered(isolua_future *answer, int code) {
  if (answer == NULL) return;
  CHECK(il_future_is_done(answer));
  CHECK_INT(answer->result.code, code);
  il_future_release(answer);
}

static void answers(void) {
  rig r;
  isolua_future *busy, *idle;
  if (!open_rig(&r)) return;
  CHECK(!atomic_load(&r.control.asked) && !atomic_load(&r.control.pinged));
  answer_all(&r.control, IL_TAKE_ALL); /* nobody has asked */
  idle = ping(&r, true);
  CHECK(atomic_load(&r.control.asked) && !atomic_load(&r.control.pinged));
  busy = ping(&r, false);
  CHECK(atomic_load(&r.control.pinged));
  answer_all(&r.control, IL_TAKE_BUSY); /* busy code answers */
  answered(busy, ISOLUA_OK);
  CHECK(atomic_load(&r.control.asked) && !atomic_load(&r.control.pinged));
  CHECK(idle != NULL && !il_future_is_done(idle));
  busy = ping(&r, false);
  answer_all(&r.control, IL_TAKE_ALL);
  answered(busy, ISOLUA_OK);
  answered(idle, ISOLUA_OK);
  CHECK(!atomic_load(&r.control.asked));
  close_rig(&r);
}

static void take_and_settle(rig *r, enum il_takes which, enum il_asks what, const char *text) {
  il_question *q = il_control_take(&r->control, which);
  il_result ok = {ISOLUA_OK, NULL, NULL, NULL};
  if (!CHECK(q != NULL)) return;
  CHECK_INT(q->what, what);
  CHECK(text != NULL ? q->text != NULL && strcmp(q->text, text) == 0 : q->text == NULL);
  il_question_settle(&r->control, q, &ok);
}

/* One at a time, with its text; those that only the event loop answers are passed over by busy
** code. */
static void takes_questions_in_order(void) {
  rig r;
  isolua_future *a = NULL, *b = NULL, *idle;
  if (!open_rig(&r)) return;
  idle = ping(&r, true);
  a = il_future_new(r.host, NULL);
  b = il_future_new(r.host, NULL);
  if (CHECK(a != NULL && b != NULL)) {
    CHECK_INT(il_control_ask(&r.control, a, IL_EVAL, strdup("1 + 1")), ISOLUA_OK);
    CHECK_INT(il_control_ask(&r.control, b, IL_WHERE, NULL), ISOLUA_OK);
    take_and_settle(&r, IL_TAKE_NESTED, IL_WHERE, NULL); /* not what came before it */
    CHECK(il_control_take(&r.control, IL_TAKE_NESTED) == NULL && atomic_load(&r.control.pinged));
    take_and_settle(&r, IL_TAKE_BUSY, IL_EVAL, "1 + 1");
    CHECK(!atomic_load(&r.control.pinged) && atomic_load(&r.control.asked));
    CHECK(il_control_take(&r.control, IL_TAKE_BUSY) == NULL);
  }
  answered(a, ISOLUA_OK);
  answered(b, ISOLUA_OK);
  b = ping(&r, false);
  take_and_settle(&r, IL_TAKE_ALL, IL_PING_IDLE, NULL);
  take_and_settle(&r, IL_TAKE_ALL, IL_PING, NULL);
  CHECK(il_control_take(&r.control, IL_TAKE_ALL) == NULL && !atomic_load(&r.control.asked));
  answered(idle, ISOLUA_OK);
  answered(b, ISOLUA_OK);
  close_rig(&r);
}

static void answers_its_end(void) {
  rig r;
  isolua_future *a, *b, *left;
  if (!open_rig(&r)) return;
  a = ping(&r, true);
  b = ping(&r, false);
  il_control_end(&r.control);
  answered(a, ISOLUA_CLOSED);
  answered(b, ISOLUA_CLOSED);
  answered(ping(&r, true), ISOLUA_CLOSED);
  answered(ping(&r, false), ISOLUA_CLOSED);
  close_rig(&r);
  if (!open_rig(&r)) return;
  left = ping(&r, true);
  il_control_fini(&r.control); /* of one that never had a thread */
  answered(left, ISOLUA_CLOSED);
  CHECK_INT(il_control_init(&r.control, r.gone, exit_message), ISOLUA_OK);
  close_rig(&r);
}

enum { PINGERS = 3 };

/* Index 0 answers, and ends at last; each of the others asks until it is told so. */
static void ask_or_answer(int index, void *arg) {
  rig *r = arg;
  int n = check_scale(3000, 300), closed = 0;
  if (index == 0) {
    for (int i = 0; i < n; i++) answer_all(&r->control, i % 3 == 0 ? IL_TAKE_ALL : IL_TAKE_BUSY);
    il_control_end(&r->control);
    return;
  }
  while (closed == 0) {
    isolua_future *answer = ping(r, index % 2 == 0);
    if (answer == NULL || !CHECK(il_future_wait(answer, il_deadline(SOON)))) return;
    closed = answer->result.code == ISOLUA_CLOSED;
    if (!closed) CHECK_INT(answer->result.code, ISOLUA_OK);
    il_future_release(answer);
  }
}

static void pings_meet_the_end(void) {
  for (int i = 0; i < check_scale(20, 4); i++) {
    rig r;
    if (!open_rig(&r)) return;
    check_parallel(PINGERS + 1, ask_or_answer, &r);
    close_rig(&r);
  }
}

/* -- Listeners --------------------------------------------------------------------------------- */

static il_port *new_port(size_t capacity) {
  il_port *p = il_port_new(NULL, NULL, capacity, IL_FULL_BLOCK);
  if (CHECK(p != NULL)) il_port_retain_sender(p);
  return p;
}

static void free_port(il_port *p) {
  il_port_close(p);
  il_handle_release(&p->tx);
  il_handle_release(&p->rx);
}

static il_msg *text_message(const char *text) {
  unsigned char data[8] = {0};
  int taken;
  memcpy(data, text, strlen(text));
  return il_msg_new(data, sizeof data, sizeof data, NULL, 0, &taken);
}

/* `value` NULL: the exit message. */
static void listen(rig *r, il_port *to, bool error, const char *value) {
  il_listener *l = calloc(1, sizeof *l);
  if (!CHECK(l != NULL)) return;
  il_port_retain_sender(to);
  l->to = to;
  l->error = error;
  if (value != NULL) l->value = text_message(value);
  il_control_listen(&r->control, l);
}

/* The text of the next message; "-": there is none. */
static const char *heard(il_port *p) {
  static _Thread_local char text[8];
  il_item item;
  if (il_port_receive(p, &item) != IL_GOT) return "-";
  strcpy(text, "?");
  if (item.kind == IL_ITEM_MSG) memcpy(text, item.u.msg->data, item.u.msg->len);
  il_item_fini(&item);
  return text;
}

static void tells_the_end_once(void) {
  rig r;
  il_port *a = new_port(1), *b = new_port(IL_UNBOUNDED);
  il_item full = {.kind = IL_ITEM_TRUE};
  if (a == NULL || b == NULL || !open_rig(&r)) return;
  CHECK_INT(il_port_send(a, &full, false), IL_SENT); /* it comes in whatever the capacity */
  listen(&r, a, false, NULL);
  listen(&r, b, false, "value");
  listen(&r, b, true, NULL);
  CHECK_TEXT(heard(b), "-");
  il_control_end(&r.control);
  il_control_tell_end(&r.control);
  il_control_tell_end(&r.control);
  CHECK(il_future_is_done(r.gone));
  CHECK_TEXT(heard(a), "?");
  CHECK_TEXT(heard(a), "e");
  CHECK_TEXT(heard(a), "-");
  CHECK_TEXT(heard(b), "value");
  CHECK_TEXT(heard(b), "-");
  close_rig(&r);
  CHECK_INT(atomic_load(&a->tx.refs), 1); /* it holds no sender any more */
  CHECK_INT(atomic_load(&b->tx.refs), 1);
  free_port(a);
  free_port(b);
}

static void replaces(void) {
  rig r;
  il_port *a = new_port(IL_UNBOUNDED), *b = new_port(IL_UNBOUNDED);
  if (a == NULL || b == NULL || !open_rig(&r)) return;
  listen(&r, a, false, "first");
  listen(&r, b, false, "b");
  listen(&r, a, true, NULL);
  listen(&r, a, false, "second");
  CHECK_INT(atomic_load(&a->tx.refs), 3);
  il_control_tell_end(&r.control);
  CHECK_TEXT(heard(a), "second");
  CHECK_TEXT(heard(a), "-");
  CHECK_TEXT(heard(b), "b");
  listen(&r, a, false, "late"); /* told at once */
  CHECK_TEXT(heard(a), "late");
  listen(&r, a, false, NULL);
  CHECK_TEXT(heard(a), "e");
  listen(&r, a, true, NULL);
  CHECK_TEXT(heard(a), "-");
  CHECK_INT(atomic_load(&a->tx.refs), 1);
  close_rig(&r);
  free_port(a);
  free_port(b);
}

static void goes_first(void) {
  rig r;
  il_port *a = new_port(IL_UNBOUNDED);
  il_listener *l = calloc(1, sizeof *l);
  if (a == NULL || !CHECK(l != NULL) || !open_rig(&r)) return;
  listen(&r, a, false, "second");
  il_port_retain_sender(a);
  l->to = a;
  l->value = text_message("first");
  il_control_listen_first(&r.control, l);
  il_control_tell_end(&r.control);
  CHECK_TEXT(heard(a), "first");
  CHECK_TEXT(heard(a), "second");
  close_rig(&r);
  free_port(a);
}

static void unlistens(void) {
  rig r;
  il_port *a = new_port(IL_UNBOUNDED), *b = new_port(IL_UNBOUNDED);
  if (a == NULL || b == NULL || !open_rig(&r)) return;
  il_control_unlisten(&r.control, a);
  listen(&r, a, false, "a");
  listen(&r, b, false, "b");
  listen(&r, a, true, NULL);
  il_control_unlisten(&r.control, a);
  CHECK_INT(atomic_load(&a->tx.refs), 1);
  CHECK(!il_control_hears_errors(&r.control));
  il_control_tell_end(&r.control);
  CHECK_TEXT(heard(a), "-");
  CHECK_TEXT(heard(b), "b");
  listen(&r, a, true, NULL);
  close_rig(&r);
  CHECK_INT(atomic_load(&a->tx.refs), 1);
  free_port(a);
  free_port(b);
}

static void tells_errors(void) {
  rig r;
  il_port *a = new_port(IL_UNBOUNDED), *b = new_port(IL_UNBOUNDED), *c = new_port(IL_UNBOUNDED);
  il_msg *m = text_message("error");
  if (a == NULL || b == NULL || c == NULL || !open_rig(&r)) return;
  il_control_tell_error(&r.control, m);
  listen(&r, c, false, "c");
  CHECK(!il_control_hears_errors(&r.control));
  listen(&r, a, true, NULL);
  listen(&r, b, true, NULL);
  CHECK(il_control_hears_errors(&r.control));
  for (int i = 0; i < 3; i++) il_control_tell_error(&r.control, m);
  for (int i = 0; i < 3; i++) {
    CHECK_TEXT(heard(a), "error");
    CHECK_TEXT(heard(b), "error");
  }
  CHECK_TEXT(heard(a), "-");
  CHECK_TEXT(heard(c), "-");
  il_port_close(a); /* nobody hears it: nothing is left */
  il_control_tell_error(&r.control, m);
  il_msg_free(m);
  close_rig(&r);
  free_port(a);
  free_port(b);
  free_port(c);
}

enum { LISTENERS = 4 };

typedef struct contest {
  rig r;
  il_port *ports[LISTENERS];
  atomic_int ready;
} contest;

/* The last one ends; the others begin to listen, each at its own port, or twice, or no more. */
static void listen_or_end(int index, void *arg) {
  contest *c = arg;
  atomic_fetch_add(&c->ready, 1);
  while (atomic_load(&c->ready) <= LISTENERS) il_yield();
  if (index == LISTENERS) {
    il_msg *m = text_message("error");
    il_control_tell_error(&c->r.control, m);
    il_msg_free(m);
    il_control_end(&c->r.control);
    il_control_tell_end(&c->r.control);
    return;
  }
  if (index == 1) listen(&c->r, c->ports[index], true, NULL);
  listen(&c->r, c->ports[index], false, "value");
  if (index == 2) il_control_unlisten(&c->r.control, c->ports[index]);
}

static void listening_meets_the_end(void) {
  for (int i = 0; i < check_scale(1000, 100); i++) {
    contest c = {.r = {NULL, NULL, {0}}};
    if (!open_rig(&c.r)) return;
    for (int k = 0; k < LISTENERS; k++)
      if ((c.ports[k] = new_port(IL_UNBOUNDED)) == NULL) return;
    check_parallel(LISTENERS + 1, listen_or_end, &c);
    for (int k = 0; k < LISTENERS; k++) {
      const char *text = heard(c.ports[k]);
      if (k == 1 && strcmp(text, "error") == 0) text = heard(c.ports[k]);
      if (k != 2 || strcmp(text, "-") != 0) CHECK_TEXT(text, "value");
      CHECK_TEXT(heard(c.ports[k]), "-"); /* told once */
      CHECK_INT(atomic_load(&c.ports[k]->tx.refs), 1);
      free_port(c.ports[k]);
    }
    close_rig(&c.r);
  }
}

static const check_case cases[] = {
  {"pauses are counted by their keys", pauses_count_keys},
  {"resuming without a key ends all pauses", resumes_all},
  {"what has ended is not paused any more", pauses_no_more},
  {"several pause and resume at once", pauses_at_once},
  {"busy code answers pings, the event loop those that ask for it, too", answers},
  {"questions are taken in the order in which they came", takes_questions_in_order},
  {"pings of what has ended are answered with that", answers_its_end},
  {"every ping is answered, also amid the end", pings_meet_the_end},
  {"the end is told once, whatever the capacity", tells_the_end_once},
  {"a listener replaces the one before, and after the end is told at once", replaces},
  {"the message of an exit goes before the others", goes_first},
  {"who does not listen any more is not told", unlistens},
  {"an error is told to all that listen for errors", tells_errors},
  {"who begins to listen amid the end is told once", listening_meets_the_end},
};

CHECK_MAIN(cases)
