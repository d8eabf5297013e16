/* answer.h - what an isolate answers about itself: where its code is, what an expression gives in it. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_ANSWER_H
#define IL_ANSWER_H

#include "state.h"

/* il_vm.answer. L is the coroutine that runs, between two instructions or in a wait. [-0, +0, -] */
void il_answer(il_vm *vm, lua_State *L, il_question *q, il_result *r);
/* il_vm.look. [-0, +0, v] */
void il_answer_look(lua_State *L, lua_Debug *ar);

#endif
