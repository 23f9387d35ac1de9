/* Spec, asked for as Flow's tools do: one line in, one line out; one frame in, one frame out. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

#define PROTOCOL "3032023"

static void check_text(struct story *story, const char *answer, size_t len)
{
    static const char *const parts[] = {"https://json-schema.org/draft/2020-12/schema",
                                        "awsSecretAccessKey", "x-collection-name", "https://go."};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!memmem(answer, len, parts[i], strlen(parts[i]))) {
            story_complain(story, "the answer to Spec lacks %s", parts[i]);
        }
    }
}

static void one_line_of_json_answers_spec(void **state)
{
    struct story *story = story_begin("spec by JSON");
    const char *const argv[] = {
        "/bin/sh", "-c", "echo '{\"spec\":{}}' | FLOW_RUNTIME_CODEC=json \"$0\"",
        story_text(story, "%s/materialize-redshift", story_programs()), NULL};
    struct story_process *process = story_start(story, "spec", argv, NULL, NULL);
    size_t len = 0;
    (void)state;

    story_wait(story, process, 20);
    const char *answer = story_read(story, process->out, &len);
    if (story_exit_code(process) != 0) {
        story_complain(story, "exit code %d", story_exit_code(process));
    }
    if (len == 0 || memchr(answer, '\n', len) != answer + len - 1) {
        story_complain(story, "not one line: %.300s", answer);
    }
    if (!strstr(answer, "\"protocol\":" PROTOCOL ",") || !strstr(answer, "\"configSchema\":{") ||
        !strstr(answer, "\"resourceConfigSchema\":{")) {
        story_complain(story, "not the answer to Spec: %.300s", answer);
    }
    check_text(story, answer, len);
    story_end(story);
}

static void one_frame_of_protobuf_answers_spec(void **state)
{
    struct story *story = story_begin("spec by protobuf");
    /* Request { spec: Spec {} }: field 1, no bytes; the frame's length in front. */
    const char *const argv[] = {
        "/bin/sh", "-c",
        "printf '\\002\\000\\000\\000\\012\\000' | FLOW_RUNTIME_CODEC=proto \"$0\"",
        story_text(story, "%s/materialize-redshift", story_programs()), NULL};
    struct story_process *process = story_start(story, "spec", argv, NULL, NULL);
    size_t len = 0;
    (void)state;

    story_wait(story, process, 20);
    const unsigned char *answer = (const unsigned char *)story_read(story, process->out, &len);
    if (story_exit_code(process) != 0) {
        story_complain(story, "exit code %d", story_exit_code(process));
    }
    size_t framed = len < 4 ? 0
                            : (size_t)answer[0] | (size_t)answer[1] << 8 | (size_t)answer[2] << 16 |
                                  (size_t)answer[3] << 24;
    /* protocol is field 1 of Response.Spec: 3032023 as a varint */
    if (len < 4 || framed != len - 4 || !memmem(answer, len, "\x08\xd7\x87\xb9\x01", 5)) {
        story_complain(story, "not one frame with protocol " PROTOCOL " (%zu bytes)", len);
    }
    check_text(story, (const char *)answer, len);
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_of_json_answers_spec),
        cmocka_unit_test(one_frame_of_protobuf_answers_spec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
