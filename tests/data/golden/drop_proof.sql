DROP TABLE flow_temp_proof
