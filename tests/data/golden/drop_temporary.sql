ALTER TABLE sales."Orders" DROP COLUMN "placedAt_flowtmp1"
