TRUNCATE TABLE sales."Orders";
