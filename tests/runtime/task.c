/* The task: catalog in, Validate request, specification and rows out. */
#include "task.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "select.h"

/* ---------------------------------------------------------------- catalog */

static bool refuse(struct fr_buf *error, const char *what, const char *name)
{
    fr_buf_printf(error, "catalog: %s%s%s", what, name[0] != '\0' ? ": " : "", name);
    return false;
}

static struct fr_json *read_json(struct fr_arena *arena, const char *path, struct fr_buf *error)
{
    struct fr_buf text = {0};
    const char *reason = NULL;
    struct fr_json *tree = NULL;
    if (!fr_file_read(path, &text)) {
        fr_buf_printf(error, "%s: %s", path, strerror(errno));
    } else {
        tree = fr_json_parse(arena, text.data, text.len, &reason);
        if (tree == NULL) {
            fr_buf_printf(error, "%s: %s", path, reason);
        }
    }
    fr_buf_done(&text);
    return tree;
}

static const char *source_name(const struct fr_json *model)
{
    const struct fr_json *source = fr_json_get(model, "source");
    const char *name = fr_json_text(source);
    return name != NULL ? name : fr_json_text(fr_json_get(source, "name"));
}

static const struct fr_json *group_fields(struct fr_task *task, struct fr_binding *binding)
{
    const struct fr_json *asked = fr_json_at(binding->model, "/fields/groupBy");
    if (fr_json_is(asked, FR_ARRAY) && asked->count > 0) {
        return asked;
    }
    const struct fr_json *key = fr_json_get(binding->collection, "key");
    struct fr_json *fields = fr_json_new(&task->arena, FR_ARRAY);
    for (uint32_t i = 0; fr_json_is(key, FR_ARRAY) && i < key->count; i++) {
        const char *ptr = fr_json_text(key->items[i]);
        const char *found = NULL;
        for (size_t k = 0; ptr != NULL && k < binding->projections.count; k++) {
            const struct fr_projection *projection = &binding->projections.list[k];
            if (strcmp(projection->ptr, ptr) == 0 && !projection->is_published_at &&
                (found == NULL || strcmp(projection->field, ptr + 1) == 0)) {
                found = projection->field;
            }
        }
        if (found == NULL) {
            return NULL;
        }
        fr_json_push(&task->arena, fields, fr_json_string(&task->arena, found));
    }
    return fields->count > 0 ? fields : NULL;
}

static bool load_binding(struct fr_task *task,
                         struct fr_binding *binding,
                         const struct fr_json *catalog,
                         struct fr_buf *error)
{
    const char *reason = NULL;
    binding->source = source_name(binding->model);
    if (binding->source == NULL) {
        return refuse(error, "a binding has no source", "");
    }
    binding->collection = fr_json_get(fr_json_get(catalog, "collections"), binding->source);
    binding->schema = fr_json_get(binding->collection, "readSchema");
    if (binding->schema == NULL) {
        binding->schema = fr_json_get(binding->collection, "schema");
    }
    if (!fr_json_is(binding->schema, FR_OBJECT)) {
        return refuse(error, "there is no collection with a schema of this name", binding->source);
    }
    const char *unplayed = fr_schema_unplayed(binding->schema);
    if (unplayed != NULL) {
        return refuse(error, "this runtime does not play the reduction", unplayed);
    }
    if (!fr_projections_infer(&task->arena, binding->schema,
                              fr_json_get(binding->collection, "projections"),
                              &binding->projections, &reason)) {
        return refuse(error, reason, binding->source);
    }
    binding->group_by = group_fields(task, binding);
    if (binding->group_by == NULL) {
        return refuse(error, "no projection for a key location", binding->source);
    }
    for (uint32_t i = 0; i < binding->group_by->count; i++) {
        const char *field = fr_json_text(binding->group_by->items[i]);
        struct fr_projection *key =
            field == NULL ? NULL : fr_projections_find(&binding->projections, field);
        if (key == NULL) {
            return refuse(error, "groupBy names no projection", binding->source);
        }
        key->is_key = true;
    }
    return true;
}

static void hash_text(uint64_t *hash, const struct fr_buf *text)
{
    for (size_t i = 0; i < text->len; i++) {
        *hash = (*hash ^ (unsigned char)text->data[i]) * 0x100000001b3U;
    }
}

static void compute_version(struct fr_task *task)
{
    uint64_t hash = 0xcbf29ce484222325U;
    struct fr_buf text = {0};
    fr_buf_puts(&text, task->is_v2 ? "v2" : "v1");
    for (size_t i = 0; i < task->binding_count; i++) {
        fr_json_put(&text, task->bindings[i].model);
        fr_json_put(&text, task->bindings[i].collection);
    }
    hash_text(&hash, &text);
    fr_buf_done(&text);
    (void)snprintf(task->version, sizeof(task->version), "%016llx", (unsigned long long)hash);
}

bool fr_task_load(struct fr_task *task,
                  const char *catalog_path,
                  const char *name,
                  const char *config_path,
                  struct fr_buf *error)
{
    struct fr_json *catalog = read_json(&task->arena, catalog_path, error);
    if (catalog == NULL) {
        return false;
    }
    const struct fr_json *tasks = fr_json_get(catalog, "materializations");
    if (name == NULL && fr_json_is(tasks, FR_OBJECT) && tasks->count == 1) {
        name = tasks->members[0].name;
    }
    if (name == NULL) {
        return refuse(error, "name one of its materializations", "");
    }
    const struct fr_json *model = fr_json_get(tasks, name);
    if (model == NULL) {
        return refuse(error, "no such materialization", name);
    }
    task->name = name;
    task->endpoint = fr_json_at(model, "/endpoint/local");
    task->config = fr_json_get(task->endpoint, "config");
    if (config_path != NULL) {
        task->config = read_json(&task->arena, config_path, error);
        if (task->config == NULL) {
            return false;
        }
    }
    if (task->config == NULL) {
        task->config = fr_json_new(&task->arena, FR_OBJECT);
    }
    task->hard_delete = fr_json_true(fr_json_get(task->config, "hardDelete"));
    const struct fr_json *bindings = fr_json_get(model, "bindings");
    if (!fr_json_is(bindings, FR_ARRAY) || bindings->count == 0) {
        return refuse(error, "the materialization has no bindings", name);
    }
    task->bindings = fr_arena_get(&task->arena, bindings->count * sizeof(*task->bindings));
    for (uint32_t i = 0; i < bindings->count; i++) {
        if (fr_json_true(fr_json_get(bindings->items[i], "disable"))) {
            continue;
        }
        struct fr_binding *binding = &task->bindings[task->binding_count++];
        binding->model = bindings->items[i];
        if (!load_binding(task, binding, catalog, error)) {
            return false;
        }
    }
    compute_version(task);
    return true;
}

void fr_task_done(struct fr_task *task)
{
    fr_arena_done(&task->arena);
}

/* ---------------------------------------------------------------- Validate */

static struct fr_json *string(struct fr_task *task, const char *text)
{
    return fr_json_string(&task->arena, text);
}

static void
set(struct fr_task *task, struct fr_json *object, const char *name, struct fr_json *value)
{
    fr_json_set(&task->arena, object, name, value);
}

static struct fr_json *share(struct fr_task *task, const struct fr_json *value)
{
    return fr_json_shallow(&task->arena, value);
}

static struct fr_json *describe_projection(struct fr_task *task,
                                           const struct fr_projection *projection)
{
    struct fr_json *tree = fr_json_new(&task->arena, FR_OBJECT);
    if (projection->ptr[0] != '\0') {
        set(task, tree, "ptr", string(task, projection->ptr));
    }
    set(task, tree, "field", string(task, projection->field));
    if (projection->is_explicit) {
        set(task, tree, "explicit", fr_json_bool(&task->arena, true));
    }
    if (projection->is_partition) {
        set(task, tree, "isPartitionKey", fr_json_bool(&task->arena, true));
    }
    if (projection->is_key) {
        set(task, tree, "isPrimaryKey", fr_json_bool(&task->arena, true));
    }
    set(task, tree, "inference", projection->inference);
    return tree;
}

static struct fr_json *describe_collection(struct fr_task *task, const struct fr_binding *binding)
{
    struct fr_json *tree = fr_json_new(&task->arena, FR_OBJECT);
    struct fr_json *projections = fr_json_new(&task->arena, FR_ARRAY);
    for (size_t i = 0; i < binding->projections.count; i++) {
        fr_json_push(&task->arena, projections,
                     describe_projection(task, &binding->projections.list[i]));
    }
    set(task, tree, "name", string(task, binding->source));
    set(task, tree, "key", share(task, fr_json_get(binding->collection, "key")));
    set(task, tree, "uuidPtr", string(task, "/_meta/uuid"));
    set(task, tree, "projections", projections);
    const struct fr_json *write = fr_json_get(binding->collection, "writeSchema");
    set(task, tree, "writeSchema", share(task, write != NULL ? write : binding->schema));
    if (write != NULL) {
        set(task, tree, "readSchema", share(task, binding->schema));
    }
    return tree;
}

static uint32_t backfill_of(const struct fr_binding *binding)
{
    int64_t backfill = 0;
    (void)fr_json_to_int(fr_json_get(binding->model, "backfill"), &backfill);
    return (uint32_t)backfill;
}

static const struct fr_json *resource_of(struct fr_task *task, const struct fr_binding *binding)
{
    const struct fr_json *resource = fr_json_get(binding->model, "resource");
    return resource != NULL ? resource : fr_json_new(&task->arena, FR_OBJECT);
}

struct fr_json *
fr_task_validate(struct fr_task *task, struct fr_json *last, const char *last_version)
{
    struct fr_json *request = fr_json_new(&task->arena, FR_OBJECT);
    struct fr_json *bindings = fr_json_new(&task->arena, FR_ARRAY);

    for (size_t i = 0; i < task->binding_count; i++) {
        const struct fr_binding *binding = &task->bindings[i];
        struct fr_json *tree = fr_json_new(&task->arena, FR_OBJECT);
        const struct fr_json *configs = fr_json_at(binding->model, "/fields/require");
        configs = configs != NULL ? configs : fr_json_at(binding->model, "/fields/include");
        set(task, tree, "resourceConfig", share(task, resource_of(task, binding)));
        set(task, tree, "collection", describe_collection(task, binding));
        if (configs != NULL && configs->count > 0) {
            set(task, tree, "fieldConfig", share(task, configs));
        }
        if (backfill_of(binding) > 0) {
            set(task, tree, "backfill", fr_json_int(&task->arena, backfill_of(binding)));
        }
        set(task, tree, "groupBy", share(task, binding->group_by));
        fr_json_push(&task->arena, bindings, tree);
    }
    set(task, request, "name", string(task, task->name));
    set(task, request, "connectorType", string(task, "IMAGE"));
    set(task, request, "config", task->config);
    set(task, request, "bindings", bindings);
    if (last != NULL) {
        set(task, request, "lastMaterialization", last);
        set(task, request, "lastVersion", string(task, last_version));
    }
    return request;
}

static bool check_path(const struct fr_json *list, uint32_t at, struct fr_buf *rule)
{
    const struct fr_json *path = fr_json_get(list->items[at], "resourcePath");
    if (!fr_json_is(path, FR_ARRAY) || path->count == 0) {
        fr_buf_printf(rule, "resourcePath must not be empty (binding %u)", at);
        return false;
    }
    for (uint32_t i = 0; i < path->count; i++) {
        if (path->items[i]->count == 0) {
            fr_buf_printf(rule, "no empty component in a resourcePath (binding %u)", at);
            return false;
        }
    }
    for (uint32_t i = 0; i < at; i++) {
        if (fr_json_equal(fr_json_get(list->items[i], "resourcePath"), path)) {
            fr_buf_printf(rule, "resourcePath is unique across bindings (%u and %u)", i, at);
            return false;
        }
    }
    return true;
}

static bool check_constraints(const struct fr_json *list, uint32_t at, struct fr_buf *rule)
{
    for (uint32_t i = 0; fr_json_is(list, FR_ARRAY) && i < list->count; i++) {
        const char *field = fr_json_text(fr_json_get(list->items[i], "field"));
        const struct fr_json *constraint = fr_json_get(list->items[i], "constraint");
        const struct fr_json *type = fr_json_get(constraint, "type");
        const char *reason = fr_json_text(fr_json_get(constraint, "reason"));
        const struct fr_json *folded = fr_json_get(constraint, "foldedField");
        if (field == NULL || field[0] == '\0') {
            fr_buf_printf(rule, "a constraint names its field (binding %u)", at);
            return false;
        }
        if (type == NULL || fr_json_is_text(type, "INVALID")) {
            fr_buf_printf(rule, "a constraint has a type other than INVALID (binding %u, %s)", at,
                          field);
            return false;
        }
        if (!fr_json_is_text(type, "FIELD_OPTIONAL") && (reason == NULL || reason[0] == '\0')) {
            fr_buf_printf(rule,
                          "a constraint other than FIELD_OPTIONAL has a reason "
                          "(binding %u, %s)",
                          at, field);
            return false;
        }
        for (uint32_t k = 0; k < i; k++) {
            const struct fr_json *other =
                fr_json_get(fr_json_get(list->items[k], "constraint"), "foldedField");
            const char *left = folded == NULL ? "" : folded->text;
            const char *right = other == NULL ? "" : other->text;
            if (fr_json_is_text(fr_json_get(list->items[k], "field"), field) &&
                strcmp(left, right) != 0) {
                fr_buf_printf(rule,
                              "all constraints of one field carry the same foldedField "
                              "(binding %u, %s)",
                              at, field);
                return false;
            }
        }
    }
    return true;
}

bool fr_task_check_validated(const struct fr_task *task,
                             const struct fr_json *validated,
                             struct fr_buf *rule)
{
    const struct fr_json *bindings = fr_json_get(validated, "bindings");
    size_t count = bindings == NULL ? 0 : bindings->count;
    if (count != task->binding_count) {
        fr_buf_printf(rule, "Validated has one binding per binding of the request (%zu of %zu)",
                      count, task->binding_count);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!check_path(bindings, i, rule) ||
            !check_constraints(fr_json_get(bindings->items[i], "projectionConstraints"), i, rule)) {
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- specification */

/* Percent-encoding of everything but letters, digits and "-_.~". */
static const char *state_key(struct fr_task *task, const struct fr_json *path, uint32_t backfill)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
    struct fr_buf key = {0};
    for (uint32_t i = 0; i < path->count; i++) {
        if (i > 0) {
            fr_buf_puts(&key, "%2F");
        }
        for (uint32_t k = 0; k < path->items[i]->count; k++) {
            char c = path->items[i]->text[k];
            if (c != '\0' && strchr(plain, c) != NULL) {
                fr_buf_putc(&key, c);
            } else {
                fr_buf_printf(&key, "%%%02X", (unsigned char)c);
            }
        }
    }
    if (backfill > 0) {
        fr_buf_printf(&key, ".v%u", backfill);
    }
    const char *copy = fr_arena_copy(&task->arena, key.data, key.len);
    fr_buf_done(&key);
    return copy;
}

static const struct fr_json *find_binding(const struct fr_json *spec, const struct fr_json *path)
{
    static const char *const lists[] = {"bindings", "inactiveBindings"};
    for (int k = 0; k < 2; k++) {
        const struct fr_json *list = fr_json_get(spec, lists[k]);
        for (uint32_t i = 0; list != NULL && i < list->count; i++) {
            if (fr_json_equal(fr_json_get(list->items[i], "resourcePath"), path)) {
                return list->items[i];
            }
        }
    }
    return NULL;
}

static const struct fr_json *live_selection(const struct fr_binding *binding,
                                            const struct fr_json *live)
{
    int64_t backfill = 0;
    (void)fr_json_to_int(fr_json_get(live, "backfill"), &backfill);
    return (uint32_t)backfill == backfill_of(binding) ? fr_json_get(live, "fieldSelection") : NULL;
}

static struct fr_json *build_binding(struct fr_task *task,
                                     const struct fr_binding *binding,
                                     const struct fr_json *validated,
                                     const struct fr_json *last,
                                     struct fr_buf *error)
{
    struct fr_json *path = fr_json_get(validated, "resourcePath");
    struct fr_selecting selecting = {
        .projections = &binding->projections,
        .group_by = binding->group_by,
        .live = live_selection(binding, find_binding(last, path)),
        .fields = fr_json_get(binding->model, "fields"),
        .constraints = fr_json_get(validated, "projectionConstraints"),
        .case_insensitive = fr_json_true(fr_json_get(validated, "caseInsensitiveFields")),
    };
    struct fr_json *selection = fr_select_fields(&task->arena, &selecting, error);
    if (selection == NULL) {
        return NULL;
    }
    struct fr_json *tree = fr_json_new(&task->arena, FR_OBJECT);
    const char *key = state_key(task, path, backfill_of(binding));
    struct fr_buf suffix = {0};
    fr_buf_printf(&suffix, "materialize/%s/%s", task->name, key);
    set(task, tree, "resourceConfig", share(task, resource_of(task, binding)));
    set(task, tree, "resourcePath", path);
    set(task, tree, "collection", describe_collection(task, binding));
    set(task, tree, "fieldSelection", selection);
    if (fr_json_true(fr_json_get(validated, "deltaUpdates"))) {
        set(task, tree, "deltaUpdates", fr_json_bool(&task->arena, true));
    }
    set(task, tree, "journalReadSuffix", string(task, suffix.data));
    if (backfill_of(binding) > 0) {
        set(task, tree, "backfill", fr_json_int(&task->arena, backfill_of(binding)));
    }
    set(task, tree, "stateKey", string(task, key));
    struct fr_json *policy = fr_json_get(validated, "serPolicy");
    if (policy != NULL) {
        set(task, tree, "serPolicy", policy);
    }
    fr_buf_done(&suffix);
    return tree;
}

static struct fr_json *shard_template(struct fr_task *task)
{
    struct fr_json *shard = fr_json_new(&task->arena, FR_OBJECT);
    struct fr_json *labels = fr_json_new(&task->arena, FR_ARRAY);
    struct fr_json *set_of = fr_json_new(&task->arena, FR_OBJECT);
    struct fr_buf id = {0};
    fr_buf_printf(&id, "materialize/%s", task->name);
    set(task, shard, "id", string(task, id.data));
    fr_buf_done(&id);
    if (task->is_v2) {
        struct fr_json *flag = fr_json_new(&task->arena, FR_OBJECT);
        set(task, flag, "name", string(task, "estuary.dev/flag/enable-runtime-v2"));
        set(task, flag, "value", string(task, "true"));
        fr_json_push(&task->arena, labels, flag);
    }
    set(task, set_of, "labels", labels);
    set(task, shard, "labels", set_of);
    return shard;
}

bool fr_task_build(struct fr_task *task,
                   const struct fr_json *validated,
                   struct fr_json *last,
                   struct fr_buf *error)
{
    const struct fr_json *answers = fr_json_get(validated, "bindings");
    struct fr_json *spec = fr_json_new(&task->arena, FR_OBJECT);
    struct fr_json *bindings = fr_json_new(&task->arena, FR_ARRAY);
    struct fr_json *inactive = fr_json_new(&task->arena, FR_ARRAY);
    static const char *const lists[] = {"bindings", "inactiveBindings"};

    for (uint32_t i = 0; i < task->binding_count; i++) {
        struct fr_json *binding =
            build_binding(task, &task->bindings[i], answers->items[i], last, error);
        if (binding == NULL) {
            return false;
        }
        fr_json_push(&task->arena, bindings, binding);
    }
    set(task, spec, "bindings", bindings);
    for (int k = 0; k < 2; k++) {
        const struct fr_json *list = fr_json_get(last, lists[k]);
        for (uint32_t i = 0; list != NULL && i < list->count; i++) {
            const struct fr_json *path = fr_json_get(list->items[i], "resourcePath");
            if (find_binding(spec, path) == NULL) {
                fr_json_push(&task->arena, inactive, list->items[i]);
            }
        }
    }
    if (inactive->count > 0) {
        set(task, spec, "inactiveBindings", inactive);
    }
    set(task, spec, "name", string(task, task->name));
    set(task, spec, "connectorType", string(task, "IMAGE"));
    set(task, spec, "shardTemplate", shard_template(task));
    set(task, spec, "createdAt", string(task, "2026-01-31"));
    return fr_task_adopt(task, spec, error);
}

static bool find_columns(struct fr_task *task,
                         const struct fr_binding *binding,
                         const struct fr_json *names,
                         const struct fr_projection ***ret_columns,
                         size_t *ret_count)
{
    *ret_count = names == NULL ? 0 : names->count;
    *ret_columns = fr_arena_get(&task->arena, (*ret_count + 1) * sizeof(struct fr_projection *));
    for (size_t i = 0; i < *ret_count; i++) {
        (*ret_columns)[i] = fr_projections_find(&binding->projections, names->items[i]->text);
        if ((*ret_columns)[i] == NULL) {
            return false;
        }
    }
    return true;
}

static uint32_t policy_of(const struct fr_json *policy, const char *name)
{
    int64_t limit = 0;
    (void)fr_json_to_int(fr_json_get(policy, name), &limit);
    return (uint32_t)limit;
}

bool fr_task_adopt(struct fr_task *task, struct fr_json *spec, struct fr_buf *error)
{
    const struct fr_json *bindings = fr_json_get(spec, "bindings");
    if (bindings == NULL || bindings->count != task->binding_count) {
        fr_buf_puts(error, "the stored specification does not fit the catalog");
        return false;
    }
    for (uint32_t i = 0; i < bindings->count; i++) {
        struct fr_binding *binding = &task->bindings[i];
        const struct fr_json *tree = bindings->items[i];
        const struct fr_json *selection = fr_json_get(tree, "fieldSelection");
        const struct fr_json *policy = fr_json_get(tree, "serPolicy");
        binding->delta = fr_json_true(fr_json_get(tree, "deltaUpdates"));
        binding->state_key = fr_json_text(fr_json_get(tree, "stateKey"));
        binding->document = fr_json_text(fr_json_get(selection, "document"));
        binding->policy.string_bytes = policy_of(policy, "strTruncateAfter");
        binding->policy.object_members = policy_of(policy, "nestedObjTruncateAfter");
        binding->policy.array_items = policy_of(policy, "arrayTruncateAfter");
        if (binding->state_key == NULL ||
            !find_columns(task, binding, fr_json_get(selection, "keys"), &binding->keys,
                          &binding->key_count) ||
            !find_columns(task, binding, fr_json_get(selection, "values"), &binding->values,
                          &binding->value_count)) {
            fr_buf_puts(error, "the stored specification does not fit the catalog");
            return false;
        }
        for (size_t k = 0; k < binding->value_count; k++) {
            binding->wants_truncated |= binding->values[k]->is_truncated;
        }
    }
    task->spec = fr_json_shallow(&task->arena, spec);
    set(task, task->spec, "config", task->config);
    return true;
}

struct fr_json *fr_task_stored_spec(struct fr_task *task)
{
    static const char sealed[] = "{\"image\":\"ghcr.io/acme/materialize:v1\",\"config\":"
                                 "{\"sops\":{\"encrypted_suffix\":\"_sops\"}}}";
    const char *error = NULL;
    struct fr_json *stored = fr_json_shallow(&task->arena, task->spec);
    set(task, stored, "config", fr_json_parse(&task->arena, sealed, sizeof(sealed) - 1, &error));
    return stored;
}

/* ---------------------------------------------------------------- publication times */

static const char hex_digits[] = "0123456789abcdef";

void fr_uuid_text(uint64_t time, char *text)
{
    /* time_low-time_mid-version and time_high-clock sequence-node */
    uint64_t high = time << 32 | (time >> 16 & 0xffff0000) | (time >> 48 & 0x0fff) | 0x1000;
    uint64_t low = 0x8400070c662b1d09U;
    for (unsigned i = 0; i < 32; i++) {
        uint64_t half = i < 16 ? high : low;
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            *text++ = '-';
        }
        *text++ = hex_digits[half >> (60 - 4 * (i % 16)) & 15];
    }
    *text = '\0';
}

static bool parse_hex(const char *text, unsigned count, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        char c = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] + 32) : text[i];
        const char *found = c == '\0' ? NULL : strchr(hex_digits, c);
        if (found == NULL) {
            return false;
        }
        value = value << 4 | (uint64_t)(found - hex_digits);
    }
    *ret_value = value;
    return true;
}

static char *put_digits(char *out, unsigned value, unsigned width)
{
    for (unsigned i = width; i-- > 0;) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + width;
}

bool fr_uuid_clock(const struct fr_json *uuid, uint64_t *ret)
{
    uint64_t low = 0;
    uint64_t middle = 0;
    uint64_t high = 0;
    if (!fr_json_is(uuid, FR_STRING) || uuid->count != 36 || uuid->text[14] != '1' ||
        !parse_hex(uuid->text, 8, &low) || !parse_hex(uuid->text + 9, 4, &middle) ||
        !parse_hex(uuid->text + 15, 3, &high)) {
        return false;
    }
    /* 100 ns steps since 1582-10-15; 0x01b21dd213814000 is 1970-01-01. */
    uint64_t time = high << 48 | middle << 32 | low;
    if (time < 0x01b21dd213814000U) {
        return false;
    }
    *ret = time - 0x01b21dd213814000U;
    return true;
}

bool fr_uuid_time(const struct fr_json *uuid, char *text)
{
    uint64_t time = 0;
    if (!fr_uuid_clock(uuid, &time)) {
        return false;
    }
    unsigned fraction = (unsigned)(time % 10000000);
    uint64_t seconds = time / 10000000;
    uint64_t days = seconds / 86400;
    unsigned second = (unsigned)(seconds % 86400);
    /* Days to a date: years begin on March 1st, eras have 400 years. */
    uint64_t z = days + 719468;
    uint64_t era = z / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    unsigned day = doy - (153 * mp + 2) / 5 + 1;
    unsigned month = mp < 10 ? mp + 3 : mp - 9;
    unsigned year = (unsigned)(yoe + era * 400) + (month <= 2);
    text = put_digits(text, year, 4);
    *text++ = '-';
    text = put_digits(text, month, 2);
    *text++ = '-';
    text = put_digits(text, day, 2);
    *text++ = 'T';
    text = put_digits(text, second / 3600, 2);
    *text++ = ':';
    text = put_digits(text, second / 60 % 60, 2);
    *text++ = ':';
    text = put_digits(text, second % 60, 2);
    if (fraction > 0) {
        *text++ = '.';
        text = put_digits(text, fraction, 7);
        while (text[-1] == '0') {
            text--;
        }
    }
    *text++ = 'Z';
    *text = '\0';
    return true;
}
