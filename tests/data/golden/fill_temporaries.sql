UPDATE sales."Orders" SET "placedAt_flowtmp1" = to_char("placedAt" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), qty_flowtmp1 = CAST(qty AS TEXT) WHERE true;
