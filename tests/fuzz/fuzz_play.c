/*
 * Several clients on two sessions of the whole daemon, which is killed and started again. The input is a list
 * of steps: a client asks something, the loop turns, a job runs or comes back, a handle is opened or closed,
 * time passes, the clock is set back, a connection is lost, the daemon is killed, now, in the middle of a
 * transaction, or while it makes or deletes a session. Unanswered requests are then repeated or not.
 *
 * All answers, and what the sessions have at last, must be explained by some order of the requests
 * (history.h). A handle that watches hears of what others have changed.
 *
 * $PLAY_PLANT plants a fault, to prove that it is found: `lost` (a kill loses what was answered), `twice` (a
 * repetition is not known as one), `stale` (an answer is the one before), `unheard` (nobody is told of
 * changes).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "by_hand.h"
#include "clocks.h"
#include "fuzz.h"
#include "play.h"

enum {
        SMALL_CACHE = 2048, /* a few rows */
        LARGE_CACHE = 1 << 24,
};

static void step_pass(struct choices *choices)
{
        static const int64_t times[] = { 100, 1000, 6000, 61000 };
        const uint8_t how = choose_byte(choices);
        const int64_t ms = times[how % 4];

        for (unsigned i = 0; i < SESSIONS; i++)
                finish_burst(i);
        if (how & 128)
                clock_set_back_ms(ms);
        else
                clock_pass_ms(ms);
        settle();
        check_waiting();
}

static void step(struct choices *choices)
{
        const uint8_t what = choose_byte(choices), who = choose_byte(choices);
        const unsigned c = who % CLIENTS, h = who / CLIENTS % HANDLES;

        if (play.traced)
                fprintf(stderr, "step %u (%02x), client %u, handle %u of session %s\n", what % 16, what, c, h,
                        play.clients[c].handles[h].number
                                ? play.sessions[play.clients[c].handles[h].session].name
                                : "none");
        switch (what % 16) {
        case 8: inside_turn(); break;
        case 9:
                if (jobs_waiting())
                        inside_job_run(what / 16 % jobs_waiting());
                break;
        case 10:
                if (jobs_back())
                        inside_job_finish(what / 16 % jobs_back());
                break;
        case 11:
                if (what & 16)
                        step_read_only(who % SESSIONS);
                else
                        finish_burst(who % SESSIONS);
                break;
        case 12: step_open(choices, c, h); break;
        case 13:
                if (what & 16)
                        step_pass(choices);
                else if (what & 32 && what & 64)
                        step_delete(choices, c, h, what & 128);
                else
                        step_close(c, h);
                break;
        case 14: step_kill(choices); break;
        case 15:
                if (what & 128 && what & 64)
                        step_chown(c, h, what / 16 % 4 + (who & 128 ? 2 : 0));
                else
                        step_lose(c, what & 16);
                break;
        default: step_ask(choices, c, h);
        }
}

/* ---- the run ---- */

static void begin(struct choices *choices)
{
        static const char *const dialects[] = { "pyrogram", "pyrofork", "kurigram", "telethon",
                                                "electrogram" };
        const uint8_t which = choose_byte(choices);

        memset(&play, 0, sizeof(play));
        play.traced = getenv("PLAY_TRACE");
        clocks_reset();
        inside_sync_always(which % 4);
        play.keys = 1;
        inside_keys(play.keys);
        inside_cache(which & 64 ? SMALL_CACHE : LARGE_CACHE);
        play.has_reader = !(which & 128);
        if (play.has_reader)
                inside_let_read(USER + READER);
        else
                inside_let_nobody_read();
        inside_start();
        for (unsigned s = 0; s < SESSIONS; s++) {
                play.sessions[s].name[0] = (char)('a' + s);
                play.sessions[s].backend = s && which & 32 ? "memory" : "file";
                play.sessions[s].dialect = dialects[(s ? which / 8 : which) % 5];
        }
        for (unsigned c = 0; c <= READER; c++) {
                memset(play.clients[c].id, 'A' + (int)c, LIMIT_ID_BYTES);
                play.clients[c].next_id = FIRST_ID;
                play.clients[c].uid = which & 128 && c && c < OBSERVER ? USER + c : geteuid();
                play.clients[c].lane = ++play.lanes;
                if (c <= OBSERVER)
                        connect_client(c);
        }
        play.clients[READER].uid = USER + READER;
        for (unsigned c = 0; c < 2; c++) /* another user is denied */
                for (unsigned s = 0; s < SESSIONS; s++) {
                        struct choices how = { (const uint8_t[]){ (uint8_t)(4 | (c ? 16 : 0) | s) }, NULL };

                        how.end = how.at + 1;
                        step_open(&how, c, s);
                }
}

/* What an end in order leaves is all that there was. */
static void end(void)
{
        for (unsigned s = 0; s < SESSIONS; s++)
                finish_burst(s);
        inside_stop();
        for (unsigned c = 0; c <= OBSERVER; c++) {
                play.clients[c].end = NULL;
                memset(play.clients[c].handles, 0, sizeof(play.clients[c].handles));
                play.clients[c].waiting = (struct waiting){ 0 };
        }
        for (unsigned s = 0; s < SESSIONS; s++)
                forget_if_over(s);
        inside_start();
        connect_client(OBSERVER);
        for (unsigned s = 0; s < SESSIONS; s++) {
                observe(s, false);
                explain(s);
        }
        inside_stop();
        inside_clear();
        for (unsigned i = 0; i < ANSWERS; i++)
                buffer_deinit(&play.answers[i].result);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        static const char *const plants[] = { "", "lost", "twice", "stale", "unheard" };
        const char *wanted = getenv("PLAY_PLANT");

        (void)argc;
        (void)argv;
        for (unsigned i = 0; wanted && i < sizeof(plants) / sizeof(plants[0]); i++)
                if (strcmp(wanted, plants[i]) == 0)
                        plant = (enum plant)i;
        inside_init();
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct choices choices = { data, data + size };

        begin(&choices);
        for (int i = 0; i < STEPS_MAX && choices_left(&choices); i++)
                step(&choices);
        end();
        return 0;
}
