SET statement_timeout TO 30000
