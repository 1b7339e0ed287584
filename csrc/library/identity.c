#include "identity.h"

#include <stdio.h>
#include <string.h>

#include "sha256.h"

static int starts_with(const char *text, size_t size, const char *start)
{
    return size >= strlen(start) && memcmp(text, start, strlen(start)) == 0;
}

static int of_decoder(const char *name)
{
    return !strcmp(name, "head") || !strcmp(name, "gain_bands") || !strcmp(name, "noise_from") ||
           starts_with(name, strlen(name), "decoder_") ||
           starts_with(name, strlen(name), "synthesis_");
}

static void add(nac_sha256 *hash, const char *text) { nac_sha256_update(hash, text, strlen(text)); }

static void add_number(nac_sha256 *hash, size_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%zu", value);
    add(hash, text);
}

/* ["name", value], as Python's json.dumps writes it. */
static void add_field(nac_sha256 *hash, const nac_config_field *field)
{
    add(hash, "[\"");
    add(hash, field->name);
    add(hash, "\", ");
    if (field->kind == NAC_FIELD_INTEGER) add_number(hash, field->value);
    if (field->kind == NAC_FIELD_FLAG) add(hash, field->value ? "true" : "false");
    if (field->kind == NAC_FIELD_HEAD) add(hash, "\"" NAC_CONFIG_HEAD "\"");
    add(hash, "]");
}

/* A string as json.dumps writes it: what is not ASCII, and DEL, as \uXXXX in UTF-16. The reader of the
 * file refused escapes in names, so the bytes are the name. */
static void add_name(nac_sha256 *hash, const nac_json_node *name)
{
    const unsigned char *at = (const unsigned char *)name->text, *end = at + name->size;
    while (at < end) {
        uint32_t code = *at++;
        if (code >= 0x80) {
            const int more = code >= 0xf0 ? 3 : code >= 0xe0 ? 2 : 1;
            code &= 0x3fu >> more;
            for (int i = 0; i < more; i++) code = code << 6 | (*at++ & 0x3fu);
        }
        char text[16] = {(char)code};
        if (code >= 0x10000)
            snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10),
                     0xdc00 + ((code - 0x10000) & 0x3ff));
        else if (code >= 0x7f)
            snprintf(text, sizeof text, "\\u%04x", code);
        add(hash, text);
    }
}

/* ["name", "dtype", [shape]], then the values. */
static void add_tensor(nac_sha256 *hash, const nac_tensor *tensor)
{
    add(hash, "[\"");
    add_name(hash, tensor->name);
    add(hash, "\", \"");
    add(hash, tensor->dtype_name);
    add(hash, "\", [");
    for (size_t i = 0; i < tensor->rank; i++) {
        if (i) add(hash, ", ");
        add_number(hash, tensor->shape[i]);
    }
    add(hash, "]]");
    nac_sha256_update(hash, tensor->data, tensor->bytes);
}

void nac_model_id(const nac_safetensors *file, const nac_config *config, uint8_t id[NAC_ID_BYTES])
{
    nac_config_field fields[NAC_CONFIG_COUNT];
    nac_sha256 tokens, decoder;
    unsigned char digest[32];
    nac_sha256_begin(&tokens);
    nac_sha256_begin(&decoder);
    const size_t n_fields = nac_config_list(config, fields);
    for (size_t i = 0; i < n_fields; i++)
        add_field(of_decoder(fields[i].name) ? &decoder : &tokens, &fields[i]);
    for (size_t i = 0; i < file->count; i++) {
        const nac_json_node *name = file->tensors[i].name;
        add_tensor(starts_with(name->text, name->size, "decoder.") ? &decoder : &tokens,
                   &file->tensors[i]);
    }
    nac_sha256_end(&tokens, digest);
    memcpy(id, digest, NAC_TOKENS_ID_BYTES);
    nac_sha256_end(&decoder, digest);
    memcpy(id + NAC_TOKENS_ID_BYTES, digest, NAC_ID_BYTES - NAC_TOKENS_ID_BYTES);
}
