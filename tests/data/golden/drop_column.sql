ALTER TABLE sales."Orders" DROP COLUMN "placedAt"
