DELETE FROM pairs USING flow_temp_table_4_deleted AS flow_staged WHERE pairs.name = flow_staged.name AND pairs.hash = flow_staged.hash
