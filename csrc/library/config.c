#include "config.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    size_t offset, standard;
    int64_t least, most;
} field;

static const field FIELDS[] = {
#define NAC_CONFIG_ENTRY(name, standard, least, most) \
    {#name, offsetof(nac_config, name), standard, least, most},
    NAC_CONFIG_FIELDS(NAC_CONFIG_ENTRY)
#undef NAC_CONFIG_ENTRY
};

enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

_Static_assert(N_FIELDS + 2 == NAC_CONFIG_COUNT, "all integers, the head and the waveform");

/* More nodes than any configuration has. */
enum { MAX_NODES = 256 };

static size_t *member(nac_config *config, const field *f)
{
    return (size_t *)(void *)((char *)config + f->offset);
}

static codec_status read_field(const nac_json_node *key, const nac_json_node *value,
                               nac_config *config, nac_reason reason)
{
    if (nac_json_equals(key, "waveform")) {
        if (value->type != NAC_JSON_TRUE && value->type != NAC_JSON_FALSE)
            return nac_fail(reason, CODEC_ERROR_MODEL,
                            "the configuration's waveform is no boolean");
        config->waveform = value->type == NAC_JSON_TRUE;
        return CODEC_OK;
    }
    if (nac_json_equals(key, "head")) {
        if (nac_json_equals(value, NAC_CONFIG_HEAD)) return CODEC_OK;
        return nac_fail(reason, CODEC_ERROR_UNSUPPORTED, "libcodec has only the head %s",
                        NAC_CONFIG_HEAD);
    }
    for (size_t i = 0; i < N_FIELDS; i++) {
        const field *f = &FIELDS[i];
        if (!nac_json_equals(key, f->name)) continue;
        int64_t found;
        if (!nac_json_integer(value, &found) || found < f->least || found > f->most)
            return nac_fail(reason, CODEC_ERROR_MODEL, "the configuration's %s is out of range",
                            f->name);
        *member(config, f) = (size_t)found;
        return CODEC_OK;
    }
    return nac_fail(reason, CODEC_ERROR_UNSUPPORTED, "libcodec has no code for a model with %.*s",
                    (int)(key->size < 40 ? key->size : 40), key->text);
}

codec_status nac_config_read(const char *text, size_t size, nac_config *config, nac_reason reason)
{
    nac_json_node nodes[MAX_NODES];
    const size_t n = nac_json_parse(text, size, nodes, MAX_NODES);
    if (n == 0 || n > MAX_NODES || nodes[0].type != NAC_JSON_OBJECT)
        return nac_fail(reason, CODEC_ERROR_MODEL, "the configuration is damaged");
    config->waveform = 0;
    for (size_t i = 0; i < N_FIELDS; i++) *member(config, &FIELDS[i]) = FIELDS[i].standard;
    for (size_t i = 0, key = 1; i < nodes[0].count; i++, key = nodes[key + 1].next) {
        const codec_status status = read_field(&nodes[key], &nodes[key + 1], config, reason);
        if (status) return status;
    }
    return CODEC_OK;
}

static int by_name(const void *one, const void *other)
{
    return strcmp(((const nac_config_field *)one)->name, ((const nac_config_field *)other)->name);
}

size_t nac_config_list(const nac_config *config, nac_config_field *fields)
{
    nac_config copy = *config;
    size_t n = 0;
    for (size_t i = 0; i < N_FIELDS; i++)
        if (config->channels != 1 || strcmp(FIELDS[i].name, "channels") != 0)
            fields[n++] =
                (nac_config_field){FIELDS[i].name, NAC_FIELD_INTEGER, *member(&copy, &FIELDS[i])};
    fields[n++] = (nac_config_field){"head", NAC_FIELD_HEAD, 0};
    fields[n++] = (nac_config_field){"waveform", NAC_FIELD_FLAG, config->waveform ? 1 : 0};
    qsort(fields, n, sizeof *fields, by_name);
    return n;
}
