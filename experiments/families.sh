#!/usr/bin/env bash
# Pretrain every family at a small size, as docs/experiments.md reports it: some two hours on two cores, tokenizers and
# stores included. English and Korean BERT are recipes; the others differ from them in the flags below.
#
#   experiments/families.sh ../shared/data runs/families
set -euo pipefail
data=$1 out=$2
unmask=${UNMASK:-.venv/bin/unmask}
mkdir -p "$out"
english=(text_en/books_part_0{1,2,3,4,5}.txt.gz text_en/{wiki,docs}_en.txt.gz)
korean=(text_ko/{wiki_ko,prose_ko,docs_ko,nsmc_raw_reviews}.txt.gz)

tokenizer() { # name, then flags
    [ -e "$out/tokenizers/$1" ] || "$unmask" tokenizer train "${@:2}" --output-dir "$out/tokenizers/$1"
}
tokenizer en "${english[@]/#/$data/}" --vocab-size 8000 --lowercase
tokenizer en-roberta "${english[@]/#/$data/}" --vocab-size 8000 --family roberta
tokenizer en-albert "${english[@]/#/$data/}" --vocab-size 8000 --family albert --lowercase
tokenizer en-gpt "${english[@]/#/$data/}" --vocab-size 8000 --family gpt
tokenizer ko "${korean[@]/#/$data/}" --vocab-size 16000

pretrain() { # name, then flags
    [ -e "$out/$1/report.html" ] || "$unmask" pretrain "${@:2}" --data-dir "$data" --output-dir "$out/$1"
}
small=(--num-hidden-layers 3 --hidden-size 192 --num-attention-heads 4 --initializer-range 0.05
    --hidden-dropout-prob 0 --attention-probs-dropout-prob 0 --learning-rate 1e-3 --mlm-probability 0.3
    --batch-tokens 1024 --micro-batch-tokens 1024 --max-dev-sequences 512 --max-seq-length 32)
pretrain english --config recipes/pretrain-english-tiny.yaml --tokenizer "$out/tokenizers/en"
pretrain korean --config recipes/pretrain-korean-tiny.yaml --tokenizer "$out/tokenizers/ko"
pretrain roberta roberta "${small[@]}" --corpus "${english[@]}" --tokenizer "$out/tokenizers/en-roberta" --max-steps 1500
pretrain albert albert "${small[@]}" --embedding-size 96 --corpus "${english[@]}" \
    --tokenizer "$out/tokenizers/en-albert" --max-steps 1500
pretrain electra electra "${small[@]}" --embedding-size 192 --generator-size 1.0 --discriminator-weight 10 \
    --corpus "${english[@]}" --tokenizer "$out/tokenizers/en" --max-steps 3000
pretrain gpt gpt "${small[@]}" --max-seq-length 64 --max-dev-sequences 1024 --corpus "${english[@]}" \
    --tokenizer "$out/tokenizers/en-gpt" --max-steps 1200
pretrain shakespeare --config recipes/pretrain-shakespeare.yaml
