
CREATE TABLE IF NOT EXISTS "Ops".flow_checkpoints_v1 (
	materialization TEXT,
	key_begin BIGINT,
	key_end BIGINT,
	fence BIGINT,
	checkpoint VARBYTE(1024000)
);

COMMENT ON TABLE "Ops".flow_checkpoints_v1 IS 'Flow''s metadata: what each task has committed, one row per key range';
COMMENT ON COLUMN "Ops".flow_checkpoints_v1.materialization IS 'Name of the task';
COMMENT ON COLUMN "Ops".flow_checkpoints_v1.key_begin IS 'First key hash of the range that this row covers, inclusive';
COMMENT ON COLUMN "Ops".flow_checkpoints_v1.key_end IS 'Last key hash of the range that this row covers, inclusive';
COMMENT ON COLUMN "Ops".flow_checkpoints_v1.fence IS 'Raised by each instance that takes the task over';
COMMENT ON COLUMN "Ops".flow_checkpoints_v1.checkpoint IS 'Checkpoint of the Flow runtime: gzip, then base64, then the bytes of that text';

