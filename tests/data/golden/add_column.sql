ALTER TABLE sales."Orders" ADD COLUMN "lineItems" SUPER;
