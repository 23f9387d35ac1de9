
CREATE TABLE IF NOT EXISTS sales."Orders" (
	id BIGINT,
	"_meta/op" TEXT,
	flow_published_at TIMESTAMPTZ,
	"lineItems" SUPER,
	note TEXT,
	"placedAt" TIMESTAMPTZ,
	qty NUMERIC(38,0),
	flow_document SUPER
);

COMMENT ON TABLE sales."Orders" IS 'Generated for materialization acme/dw of collection acme/orders';
COMMENT ON COLUMN sales."Orders".id IS '';
COMMENT ON COLUMN sales."Orders"."_meta/op" IS '';
COMMENT ON COLUMN sales."Orders".flow_published_at IS '';
COMMENT ON COLUMN sales."Orders"."lineItems" IS '';
COMMENT ON COLUMN sales."Orders".note IS 'It''s a note
with a back\\slash
user-provided';
COMMENT ON COLUMN sales."Orders"."placedAt" IS '';
COMMENT ON COLUMN sales."Orders".qty IS '';
COMMENT ON COLUMN sales."Orders".flow_document IS '';

