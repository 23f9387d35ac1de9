ALTER TABLE sales."Orders" ADD COLUMN "placedAt_flowtmp1" TEXT 
