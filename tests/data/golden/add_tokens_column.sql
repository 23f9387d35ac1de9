ALTER TABLE "Ops".flow_checkpoints_v1 ADD COLUMN checkpoint_tokens VARBYTE(1024000);
