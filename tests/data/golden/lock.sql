LOCK "Ops".flow_checkpoints_v1
