/* game.c - a game on SDL2 whose terrain and mods are isolates; no frame waits for them. */
/* SPDX-License-Identifier: MIT */

/*
**   cc game.c $(pkg-config --cflags --libs isolua sdl2) -o game
**   ./game [--frames N] [--picture FILE.bmp] [--script]
**
** Arrows scroll, Page Down goes on by a screen, P pauses, B starts a mod that hangs, M one that
** takes all the memory it can get, K kills mods that hang, Escape quits. --frames ends after N
** frames, --picture saves the last one, --script presses the keys.
**
** The world is made of chunks of tiles. Isolates of the host `engine` compute them and send each as
** a buffer, whose block is kept: its bytes are never copied. Mods are code of strangers: they run
** on a host of their own, in a sandbox with little memory, and see of the game what they are sent.
*/

#include <SDL.h>
#include <isolua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  WIDTH = 640, /* of the window, pixels */
  HEIGHT = 480,
  TILE = 16, /* pixels of a tile's side */
  SIDE = 16, /* tiles of a chunk's side; terrain_source has it too */
  CHUNK = TILE * SIDE,
  SLOTS = 8,      /* chunks that are kept, in each direction */
  WORKERS = 2,    /* isolates that compute terrain */
  MAX_ASKED = 16, /* chunks that are asked for at once */
  MODS = 4,       /* that live at once */
  HUNG = 30,      /* frames after which a mod that does not answer hangs */
  SPEED = 6       /* pixels that a frame scrolls */
};

#define BUDGET (2 * ISOLUA_SECOND / 1000) /* of the library in one frame, for what it has to tell */
#define FAR 1e9                           /* no creature is further away, in pixels */

static const char terrain_source[] =
  "local tx, seed = ...\n"
  "local isolate = require 'isolate'\n"
  "local SIDE, LEVELS = 16, {0.36, 0.44, 0.48, 0.58, 0.66, 0.74}\n"
  "local function corner(x, y)\n"
  "  local h = x * 374761393 + y * 668265263 + seed * 974634777\n"
  "  h = (h ~ h >> 13) * 1274126177\n"
  "  return ((h ~ h >> 16) & 0xffff) / 0x10000\n"
  "end\n"
  "local function noise(x, y)\n"
  "  local i, j = math.floor(x), math.floor(y)\n"
  "  local u, v = x - i, y - j\n"
  "  u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)\n"
  "  local a, b = corner(i, j), corner(i, j + 1)\n"
  "  a = a + u * (corner(i + 1, j) - a)\n"
  "  b = b + u * (corner(i + 1, j + 1) - b)\n"
  "  return a + v * (b - a)\n"
  "end\n"
  "local function height(x, y)\n"
  "  local sum, weight = 0, 0.5\n"
  "  for octave = 0, 3 do\n"
  "    local scale = (1 << octave) / 24\n"
  "    sum = sum + weight * noise(x * scale, y * scale)\n"
  "    weight = weight / 2\n"
  "  end\n"
  "  return sum / 0.9375\n"
  "end\n"
  "local function kind(h)\n"
  "  for i, level in ipairs(LEVELS) do if h < level then return i - 1 end end\n"
  "  return #LEVELS\n"
  "end\n"
  "for ask in isolate.inbox():messages() do\n"
  "  local buf = isolate.buffer(SIDE * SIDE)\n"
  "  local tiles, n = buf:view 'u8', 0\n"
  "  for y = ask.y * SIDE, ask.y * SIDE + SIDE - 1 do\n"
  "    for x = ask.x * SIDE, ask.x * SIDE + SIDE - 1 do\n"
  "      n = n + 1\n"
  "      tiles[n] = kind(height(x, y))\n"
  "    end\n"
  "  end\n"
  "  tx:send {x = ask.x, y = ask.y, tiles = isolate.transfer(buf)}\n"
  "end\n";

static const char creature_source[] = /* it circles about the middle of the view */
  "local tx = ...\n"
  "local x, y\n"
  "for tick in require 'isolate'.inbox():messages() do\n"
  "  local angle = tick.frame / 30\n"
  "  local to_x, to_y = tick.x + 150 * math.cos(angle), tick.y + 100 * math.sin(angle)\n"
  "  x, y = x or to_x, y or to_y\n"
  "  x, y = x + (to_x - x) / 8, y + (to_y - y) / 8\n"
  "  tx:send {x = x, y = y}\n"
  "end\n";

static const char hanging_source[] = "while true do end\n";
static const char hungry_source[] = "local t = {} while true do t[#t + 1] = {} end\n";

typedef enum chunk_state { NONE, ASKED, THERE } chunk_state;

typedef struct chunk {
  chunk_state state;
  int x, y;            /* in chunks */
  isolua_block *block; /* of its tiles, when it is there */
  size_t offset;       /* of the first one in it */
} chunk;

typedef struct game game;

typedef struct mod {
  game *game;
  isolua_isolate *isolate;   /* NULL: none is here */
  isolua_receiver *receiver; /* of its answers */
  int asked;                 /* it has a tick that it has not answered */
  int since;                 /* frame in which it got that */
  int seen;                  /* it has told a position */
  double x, y;               /* pixels of the world */
} mod;

struct game {
  SDL_Window *window;
  isolua_host *engine, *mod_host;
  isolua_isolate *workers[WORKERS];
  isolua_receiver *terrain; /* of the workers' chunks */
  chunk chunks[SLOTS][SLOTS];
  mod mods[MODS];
  int x, y; /* the view's corner, pixels of the world */
  int left, right, up, down;
  int paused, over;
  int asked;         /* chunks that have not come */
  int next;          /* worker that is asked next */
  Uint32 wake_event; /* its type */
  int frame, received, killed, failed, woken;
  Uint64 spent, longest; /* ticks of the clock that the library had of this frame, and of any */
};

typedef struct arguments {
  int frames; /* 0: no end */
  const char *picture;
  int script;
} arguments;

/* -- The clock --------------------------------------------------------------------------------- */

static Uint64 now(void) {
  return SDL_GetPerformanceCounter();
}

static double milliseconds(Uint64 ticks) {
  return 1e3 * (double)ticks / (double)SDL_GetPerformanceFrequency();
}

/* -- What the library tells -------------------------------------------------------------------- */

static void log_line(void *ud, const char *text, size_t length) {
  (void)ud;
  fprintf(stderr, "game: %.*s\n", (int)length, text);
}

/* On any thread: SDL_PushEvent is made for that. */
static void wake(void *ud) {
  SDL_Event event;
  memset(&event, 0, sizeof event);
  event.type = *(Uint32 *)ud;
  SDL_PushEvent(&event);
}

/* What runs isolates yields to the game when processors are few. */
static void thread_start(void *ud, int kind) {
  (void)ud;
  if (kind == ISOLUA_THREAD_ISOLATES) SDL_SetThreadPriority(SDL_THREAD_PRIORITY_LOW);
}

static chunk *slot(game *g, int x, int y) {
  return &g->chunks[(unsigned)x % SLOTS][(unsigned)y % SLOTS];
}

/* A chunk has come. Its slot may be another one's by now. */
static void on_chunk(void *ud, isolua_receiver *receiver, isolua_message *message) {
  game *g = ud;
  const isolua_value *value, *tiles;
  chunk *c;
  int x, y;
  (void)receiver;
  if (message == NULL) return; /* the workers are gone */
  value = isolua_message_value(message, 1);
  x = (int)isolua_value_integer(isolua_value_get(value, "x"));
  y = (int)isolua_value_integer(isolua_value_get(value, "y"));
  tiles = isolua_value_get(value, "tiles");
  c = slot(g, x, y);
  g->asked--;
  if (c->state == ASKED && c->x == x && c->y == y && isolua_value_length(tiles) == SIDE * SIDE) {
    c->block = isolua_value_block(tiles, &c->offset);
    c->state = c->block != NULL ? THERE : NONE;
    g->received++;
  }
  isolua_message_free(message);
}

/* A mod has answered. It may send anything. */
static void on_answer(void *ud, isolua_receiver *receiver, isolua_message *message) {
  mod *m = ud;
  const isolua_value *value;
  double x, y;
  (void)receiver;
  if (message == NULL) return; /* it has ended: on_end is called, too */
  value = isolua_message_value(message, 1);
  x = isolua_value_number(isolua_value_get(value, "x"));
  y = isolua_value_number(isolua_value_get(value, "y"));
  m->asked = 0;
  if (x > -FAR && x < FAR && y > -FAR && y < FAR) {
    m->x = x;
    m->y = y;
    m->seen = 1;
  }
  isolua_message_free(message);
}

static void close_mod(mod *m) {
  isolua_receiver_close(m->receiver);
  isolua_isolate_release(m->isolate);
  m->receiver = NULL;
  m->isolate = NULL;
}

/* A mod has ended, as it wanted or not. */
static void on_end(void *ud, isolua_future *future) {
  mod *m = ud;
  int code = isolua_future_wait(future, 0);
  if (code == ISOLUA_KILLED)
    m->game->killed++;
  else if (code != ISOLUA_OK)
    m->game->failed++;
  close_mod(m);
}

/* -- What the library is asked ----------------------------------------------------------------- */

/* An isolate whose arguments are a sender, the hold on which is given up, and a number. */
static isolua_isolate *spawn(isolua_host *host, const char *name, const char *source,
                             isolua_sender *sender, int number) {
  isolua_options options;
  isolua_isolate *isolate = NULL;
  int code;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.name = name;
  if (isolua_message_new(&options.args) == ISOLUA_OK) {
    isolua_add_sender(options.args, sender);
    isolua_add_integer(options.args, number);
  }
  isolua_sender_release(sender);
  code = isolua_spawn_string(host, &options, source, &isolate);
  if (code != ISOLUA_OK) fprintf(stderr, "game: %s: %s\n", name, isolua_code_message(code));
  return isolate;
}

/* Sends two numbers, and a frame unless it is negative, as a table. Returns 1 when it has. */
static int tell(isolua_isolate *isolate, int x, int y, int frame) {
  isolua_message *message;
  if (isolate == NULL || isolua_message_new(&message) != ISOLUA_OK) return 0;
  isolua_add_map(message, 3);
  isolua_add_string(message, "x");
  isolua_add_integer(message, x);
  isolua_add_string(message, "y");
  isolua_add_integer(message, y);
  if (frame >= 0) {
    isolua_add_string(message, "frame");
    isolua_add_integer(message, frame);
  }
  isolua_add_end(message);
  if (isolua_send(isolua_isolate_sender(isolate), message, 0) == ISOLUA_OK) return 1;
  isolua_message_free(message);
  return 0;
}

static void start_mod(game *g, const char *name, const char *source) {
  mod *m = g->mods;
  isolua_sender *sender;
  while (m < g->mods + MODS && m->isolate != NULL) m++;
  if (m == g->mods + MODS) return;
  memset(m, 0, sizeof *m);
  m->game = g;
  m->since = g->frame;
  /* One that sends more than it is asked for waits. */
  if (isolua_receiver_new(g->mod_host, name, 8, &m->receiver, &sender) != ISOLUA_OK) return;
  m->isolate = spawn(g->mod_host, name, source, sender, 0);
  if (m->isolate == NULL || isolua_receiver_on_message(m->receiver, on_answer, m) != ISOLUA_OK ||
      isolua_future_on_done(isolua_isolate_future(m->isolate), on_end, m) != ISOLUA_OK)
    close_mod(m);
}

static int hangs(const game *g, const mod *m) {
  return m->isolate != NULL && m->asked && g->frame - m->since >= HUNG;
}

static void kill_mods(game *g) {
  for (mod *m = g->mods; m < g->mods + MODS; m++)
    if (hangs(g, m)) isolua_isolate_kill(m->isolate, 0, 0);
}

/* A tick for each mod that has answered the one before: what hangs collects none. */
static void tick_mods(game *g) {
  for (mod *m = g->mods; m < g->mods + MODS; m++) {
    if (m->isolate == NULL || m->asked) continue;
    m->asked = tell(m->isolate, g->x + WIDTH / 2, g->y + HEIGHT / 2, g->frame);
    m->since = g->frame;
  }
}

static void ask_chunk(game *g, int x, int y) {
  chunk *c = slot(g, x, y);
  if ((c->state != NONE && c->x == x && c->y == y) || g->asked >= MAX_ASKED) return;
  isolua_block_release(c->block);
  c->block = NULL;
  c->x = x;
  c->y = y;
  c->state = tell(g->workers[g->next], x, y, -1) ? ASKED : NONE;
  g->asked += c->state == ASKED;
  g->next = (g->next + 1) % WORKERS;
}

/* The chunk in which that pixel of the world is. */
static int chunk_of(int pixel) {
  return pixel >= 0 ? pixel / CHUNK : -((CHUNK - 1 - pixel) / CHUNK);
}

/* Asks for what is missing of the view, and of `margin` chunks around it. */
static void ask_chunks(game *g, int margin) {
  for (int y = chunk_of(g->y) - margin; y <= chunk_of(g->y + HEIGHT - 1) + margin; y++)
    for (int x = chunk_of(g->x) - margin; x <= chunk_of(g->x + WIDTH - 1) + margin; x++)
      ask_chunk(g, x, y);
}

/* -- Input ------------------------------------------------------------------------------------- */

static void on_key(game *g, SDL_Keycode key, int down) {
  Uint64 start = now();
  if (key == SDLK_LEFT) g->left = down;
  if (key == SDLK_RIGHT) g->right = down;
  if (key == SDLK_UP) g->up = down;
  if (key == SDLK_DOWN) g->down = down;
  if (!down) return;
  if (key == SDLK_ESCAPE) g->over = 1;
  if (key == SDLK_PAGEDOWN) g->y += HEIGHT;
  if (key == SDLK_p) g->paused = !g->paused;
  if (key == SDLK_b) start_mod(g, "hanging", hanging_source);
  if (key == SDLK_m) start_mod(g, "hungry", hungry_source);
  if (key == SDLK_k) kill_mods(g);
  g->spent += now() - start;
}

static void on_event(game *g, const SDL_Event *event) {
  if (event->type == SDL_QUIT) g->over = 1;
  if (event->type == g->wake_event && g->paused) g->woken++;
  if (event->type == SDL_KEYDOWN && !event->key.repeat) on_key(g, event->key.keysym.sym, 1);
  if (event->type == SDL_KEYUP) on_key(g, event->key.keysym.sym, 0);
}

/* All events that there are. A paused game waits for one. */
static void take_events(game *g) {
  SDL_Event event;
  if (g->paused && SDL_WaitEvent(&event)) on_event(g, &event);
  while (SDL_PollEvent(&event)) on_event(g, &event);
}

static void press(SDL_Keycode key, int down) {
  SDL_Event event;
  memset(&event, 0, sizeof event);
  event.type = down ? SDL_KEYDOWN : SDL_KEYUP;
  event.key.keysym.sym = key;
  SDL_PushEvent(&event);
}

/* Plays by itself. Paused, it goes on when all chunks have come, of which only `wake` can tell. */
static void play(game *g) {
  static const struct {
    int frame;
    SDL_Keycode key;
    int down;
  } script[] = {{10, SDLK_RIGHT, 1}, {30, SDLK_b, 1},         {60, SDLK_RIGHT, 0},
                {60, SDLK_DOWN, 1},  {90, SDLK_DOWN, 0},      {100, SDLK_k, 1},
                {120, SDLK_LEFT, 1}, {140, SDLK_PAGEDOWN, 1}, {140, SDLK_PAGEDOWN, 1},
                {140, SDLK_p, 1},    {150, SDLK_m, 1},        {200, SDLK_LEFT, 0}};
  if (g->paused) {
    if (g->asked == 0) press(SDLK_p, 1);
    return;
  }
  for (size_t i = 0; i < sizeof script / sizeof *script; i++)
    if (script[i].frame == g->frame) press(script[i].key, script[i].down);
}

/* -- Drawing ----------------------------------------------------------------------------------- */

static void fill(SDL_Surface *surface, int x, int y, int w, int h, Uint32 rgb) {
  SDL_Rect rect = {x, y, w, h};
  SDL_FillRect(surface, &rect,
               SDL_MapRGB(surface->format, rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255));
}

static void draw_chunk(const chunk *c, SDL_Surface *surface, int left, int top) {
  static const Uint32 colours[] = {0x1b4f8a, 0x2f75b5, 0xd9c98b, 0x6aa84f,
                                   0x38761d, 0x7f7f7f, 0xf3f3f3};
  const unsigned char *tiles = (unsigned char *)isolua_block_data(c->block, NULL) + c->offset;
  for (int i = 0; i < SIDE * SIDE; i++)
    fill(surface, left + i % SIDE * TILE, top + i / SIDE * TILE, TILE, TILE, colours[tiles[i] % 7]);
}

static void draw_world(game *g, SDL_Surface *surface) {
  for (int y = chunk_of(g->y); y <= chunk_of(g->y + HEIGHT - 1); y++) {
    for (int x = chunk_of(g->x); x <= chunk_of(g->x + WIDTH - 1); x++) {
      const chunk *c = slot(g, x, y);
      int left = x * CHUNK - g->x, top = y * CHUNK - g->y;
      if (c->state == THERE && c->x == x && c->y == y)
        draw_chunk(c, surface, left, top);
      else
        fill(surface, left + 1, top + 1, CHUNK - 2, CHUNK - 2, 0x303030);
    }
  }
}

/* The creatures, and in the corner a square for each mod: red when it hangs. */
static void draw_mods(game *g, SDL_Surface *surface) {
  for (int i = 0; i < MODS; i++) {
    const mod *m = &g->mods[i];
    if (m->isolate == NULL) continue;
    fill(surface, 8 + 20 * i, 8, 16, 16, hangs(g, m) ? 0xcc0000 : 0x00cc66);
    if (m->seen) fill(surface, (int)m->x - g->x - 8, (int)m->y - g->y - 8, 16, 16, 0xff00ff);
  }
}

static void draw(game *g) {
  SDL_Surface *surface = SDL_GetWindowSurface(g->window);
  if (surface == NULL) return;
  SDL_FillRect(surface, NULL, SDL_MapRGB(surface->format, 0, 0, 0));
  draw_world(g, surface);
  draw_mods(g, surface);
  SDL_UpdateWindowSurface(g->window);
}

/* -- The loop ---------------------------------------------------------------------------------- */

/* What has come: of mods for a quarter of the time at most, of terrain for what is left of it. */
static void pump(game *g) {
  Uint64 start = now();
  int64_t mods;
  isolua_pump(g->mod_host, -1, BUDGET / 4);
  mods = (int64_t)(1e6 * milliseconds(now() - start));
  isolua_pump(g->engine, -1, mods < BUDGET ? BUDGET - mods : 0);
  g->spent += now() - start;
}

static void ask(game *g) {
  Uint64 start = now();
  if (!g->paused) tick_mods(g);
  ask_chunks(g, 0);
  ask_chunks(g, 1);
  g->spent += now() - start;
}

static void step(game *g) {
  g->spent = 0;
  take_events(g);
  if (!g->paused) {
    g->x += SPEED * (g->right - g->left);
    g->y += SPEED * (g->down - g->up);
    g->frame++;
  }
  pump(g);
  ask(g);
  if (g->spent > g->longest) g->longest = g->spent;
}

static void loop(game *g, const arguments *a) {
  Uint64 frequency = SDL_GetPerformanceFrequency(), next = now();
  while (!g->over && (a->frames == 0 || g->frame < a->frames)) {
    if (a->script) play(g);
    step(g);
    draw(g);
    next += frequency / 60;
    if (now() < next)
      SDL_Delay((Uint32)milliseconds(next - now()));
    else
      next = now(); /* late, or paused */
  }
}

/* -- Beginning and end ------------------------------------------------------------------------- */

static int open_host(game *g, unsigned forbid, size_t memory, isolua_host **host) {
  isolua_host_options options;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.log = log_line;
  options.thread_start = thread_start;
  options.wake = wake;
  options.wake_ud = &g->wake_event;
  options.forbid = forbid;
  options.max_memory = memory;
  options.max_isolates = MODS;
  return isolua_host_open(&options, host);
}

static int open_window(game *g) {
  if (SDL_Init(SDL_INIT_VIDEO) != 0) return 0;
  g->wake_event = SDL_RegisterEvents(1);
  g->window =
    SDL_CreateWindow("isolua", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, WIDTH, HEIGHT, 0);
  return g->window != NULL;
}

static int start(game *g) {
  isolua_sender *sender;
  if (!open_window(g)) {
    fprintf(stderr, "game: %s\n", SDL_GetError());
    return 0;
  }
  if (open_host(g, 0, 0, &g->engine) != ISOLUA_OK ||
      open_host(g, ISOLUA_SANDBOX, 1 << 20, &g->mod_host) != ISOLUA_OK ||
      isolua_receiver_new(g->engine, "terrain", 0, &g->terrain, &sender) != ISOLUA_OK) {
    fprintf(stderr, "game: no memory\n");
    return 0;
  }
  for (int i = 0; i < WORKERS; i++) {
    isolua_sender_retain(sender);
    g->workers[i] = spawn(g->engine, "terrain", terrain_source, sender, 1);
  }
  isolua_sender_release(sender);
  isolua_receiver_on_message(g->terrain, on_chunk, g);
  start_mod(g, "creature", creature_source);
  return 1;
}

/* The hosts first, since they push events. Returns 1 when nothing is left of them. */
static int finish(game *g) {
  isolua_counts left;
  for (int i = 0; i < WORKERS; i++) isolua_isolate_release(g->workers[i]);
  for (mod *m = g->mods; m < g->mods + MODS; m++)
    if (m->isolate != NULL) close_mod(m);
  isolua_receiver_close(g->terrain);
  for (int i = 0; i < SLOTS * SLOTS; i++)
    isolua_block_release(g->chunks[i / SLOTS][i % SLOTS].block);
  isolua_host_close(g->mod_host, ISOLUA_SECOND);
  isolua_host_close(g->engine, ISOLUA_SECOND);
  if (g->window != NULL) SDL_DestroyWindow(g->window);
  SDL_Quit();
  isolua_count(&left);
  return left.isolates + left.futures + left.messages + left.threads + left.ports + left.shared ==
         0;
}

static int parse(int argc, char **argv, arguments *a) {
  memset(a, 0, sizeof *a);
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--script") == 0)
      a->script = 1;
    else if (strcmp(argv[i], "--frames") == 0 && i + 1 < argc)
      a->frames = (int)strtol(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--picture") == 0 && i + 1 < argc)
      a->picture = argv[++i];
    else
      return 0;
  }
  return 1;
}

int main(int argc, char **argv) {
  static game g;
  arguments a;
  int ok;
  if (!parse(argc, argv, &a)) {
    fprintf(stderr, "usage: game [--frames N] [--picture FILE.bmp] [--script]\n");
    return 2;
  }
  ok = start(&g);
  if (ok) {
    loop(&g, &a);
    if (a.picture != NULL && SDL_SaveBMP(SDL_GetWindowSurface(g.window), a.picture) != 0) {
      fprintf(stderr, "game: %s\n", SDL_GetError());
      ok = 0;
    }
    printf(
      "frames: %d\nchunks received: %d\nmods killed: %d\nmods failed: %d\nwoken in the pause: %d\n"
      "longest time of the library in a frame: %.3f ms\n",
      g.frame, g.received, g.killed, g.failed, g.woken, milliseconds(g.longest));
  }
  if (!finish(&g)) {
    fprintf(stderr, "game: something is left of the hosts\n");
    ok = 0;
  }
  return ok ? 0 : 1;
}
