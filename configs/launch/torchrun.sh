#!/usr/bin/env bash
# Starts a run on one of several machines, or goes on with it; to be called on each, with the same arguments.
#
#   HEAD=10.0.0.1 NODES=4 NODE=0 DEVICES=4 configs/launch/torchrun.sh outputs/lastfm/dmpo \
#       --config configs/lastfm/dmpo.yaml --config configs/nodes.yaml
#
# The first argument is the run's folder, which all machines must see; the others are train.py's.
#   HEAD     address of machine 0
#   NODES    how many machines
#   NODE     which one this is, from 0
#   DEVICES  processes on each, one a GPU
#   PORT     a free port of machine 0; 29500
# A machine with several addresses needs NCCL_SOCKET_IFNAME, or GLOO_SOCKET_IFNAME on CPUs, to name the interface.
set -euo pipefail

: "${HEAD:?is the address of machine 0}" "${NODES:?is how many machines there are}"
: "${NODE:?says which machine this is, from 0}" "${DEVICES:?is how many processes a machine runs}"
folder=${1:?is the folder of the run}
shift

resume=()
if [[ -e $folder/checkpoints/last.ckpt || -e $folder/checkpoints/previous.ckpt ]]; then
    resume=(--ckpt_path last)
fi

exec python -m torch.distributed.run \
    --nnodes "$NODES" --node-rank "$NODE" --nproc-per-node "$DEVICES" \
    --master-addr "$HEAD" --master-port "${PORT:-29500}" \
    train.py fit "$@" --trainer.default_root_dir "$folder" \
    --trainer.num_nodes "$NODES" --trainer.devices "$DEVICES" "${resume[@]}"
