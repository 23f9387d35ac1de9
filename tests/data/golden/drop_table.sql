DROP TABLE sales."Orders";
