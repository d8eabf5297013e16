/* native_port.c - a C thread streams samples to Lua, which answers each block with its mean. */
/* SPDX-License-Identifier: MIT */

/* cc native_port.c $(pkg-config --cflags --libs isolua) -lpthread -o native_port */

#include <isolua.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { BLOCKS = 5, SAMPLES = 1000 };

/* The isolate gets a sender for its answers, and blocks of samples in its inbox: buffers of doubles. */
static const char source[] = "local answers = ...\n"
                             "local isolate = require 'isolate'\n"
                             "for block in isolate.inbox():messages() do\n"
                             "  local samples, sum = block.samples:view 'f64', 0\n"
                             "  for i = 1, #samples do sum = sum + samples[i] end\n"
                             "  answers:send { name = block.name, mean = sum / #samples }\n"
                             "end\n";

/* No Lua here: the thread fills blocks and moves them to the isolate, without a copy. */
static void *measure(void *arg) {
  isolua_sender *to = (isolua_sender *)arg;
  for (int i = 0; i < BLOCKS; i++) {
    isolua_message *message;
    isolua_block *block;
    double *samples;
    char name[32];
    if (isolua_block_new(SAMPLES * sizeof(double), &block) != ISOLUA_OK) break;
    samples = (double *)isolua_block_data(block, NULL);
    for (int k = 0; k < SAMPLES; k++) samples[k] = i + (double)k / SAMPLES;
    if (isolua_message_new(&message) != ISOLUA_OK) {
      isolua_block_release(block);
      break;
    }
    snprintf(name, sizeof name, "block %d", i + 1);
    isolua_add_map(message, 2);
    isolua_add_string(message, "name");
    isolua_add_string(message, name);
    isolua_add_string(message, "samples");
    isolua_add_block(message, block); /* the message has it now */
    isolua_add_end(message);
    if (isolua_send(to, message, ISOLUA_FOREVER) !=
        ISOLUA_OK) { /* tells of all that failed before */
      isolua_message_free(message);
      break;
    }
  }
  isolua_sender_release(to); /* the last one: the isolate's loop ends, and with it the isolate */
  return NULL;
}

int main(void) {
  isolua_host *host;
  isolua_receiver *answers;
  isolua_sender *sender, *inbox;
  isolua_isolate *isolate;
  isolua_message *message;
  isolua_options options;
  pthread_t thread;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.name = "means";
  if (isolua_host_open(NULL, &host) != ISOLUA_OK) return 1;
  if (isolua_receiver_new(host, "answers", 0, &answers, &sender) != ISOLUA_OK) return 1;
  if (isolua_message_new(&options.args) != ISOLUA_OK) return 1;
  isolua_add_sender(options.args, sender);
  isolua_sender_release(sender); /* the isolate has it alone: its end closes `answers` */
  if (isolua_spawn_string(host, &options, source, &isolate) != ISOLUA_OK) return 1;
  inbox = isolua_isolate_sender(isolate);
  isolua_sender_retain(inbox);
  isolua_isolate_release(isolate);
  if (pthread_create(&thread, NULL, measure, inbox) != 0) return 1;
  while (isolua_receive(answers, ISOLUA_FOREVER, &message) == ISOLUA_OK) {
    const isolua_value *answer = isolua_message_value(message, 1);
    printf("%s: mean %.4f\n", isolua_value_string(isolua_value_get(answer, "name"), NULL),
           isolua_value_number(isolua_value_get(answer, "mean")));
    isolua_message_free(message);
  }
  pthread_join(thread, NULL);
  isolua_receiver_close(answers);
  return isolua_host_close(host, ISOLUA_SECOND);
}
