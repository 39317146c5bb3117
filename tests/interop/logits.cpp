// Prints what llama.cpp computes for a list of tokens: a line of numbers for each wanted position. Logits of a
// decoder; hidden states of an encoder.
//
//   llama-logits MODEL tokens "1 2 3" "0 2"        the second list: positions
#include "llama.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

static std::vector<int> numbers(const char * text) {
    std::istringstream stream(text);
    std::vector<int> out;
    for (int n; stream >> n;) out.push_back(n);
    return out;
}

int main(int argc, char ** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: %s MODEL TOKENS POSITIONS\n", argv[0]);
        return 2;
    }
    const std::vector<int> tokens = numbers(argv[2]);
    const std::vector<int> wanted = numbers(argv[3]);
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level >= GGML_LOG_LEVEL_WARN) std::fputs(text, stderr);
    }, nullptr);
    llama_backend_init();
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return 1;
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_batch = params.n_ubatch = 512;
    params.n_threads = params.n_threads_batch = 2;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.pooling_type = LLAMA_POOLING_TYPE_NONE;
    char kind[64] = "";
    llama_model_meta_val_str(model, "general.architecture", kind, sizeof(kind));
    const bool embeds = std::string(kind).find("bert") != std::string::npos;
    params.embeddings = embeds;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) return 1;
    llama_batch batch = llama_batch_init((int) tokens.size(), 0, 1);
    for (size_t i = 0; i < tokens.size(); i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = (llama_pos) i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    batch.n_tokens = (int) tokens.size();
    if (llama_decode(context, batch) != 0) return 1;
    const int width = embeds ? llama_model_n_embd(model) : llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int position : wanted) {
        const float * row = embeds ? llama_get_embeddings_ith(context, position) : llama_get_logits_ith(context, position);
        if (!row) return 1;
        for (int i = 0; i < width; i++) std::printf(i ? " %.9g" : "%.9g", row[i]);
        std::printf("\n");
    }
    return 0;
}
