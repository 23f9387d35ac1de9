ALTER TABLE sales."Orders" RENAME COLUMN "placedAt_flowtmp1" TO "placedAt"
