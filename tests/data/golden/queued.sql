SELECT COUNT(*) FROM sys_query_history WHERE session_id = $1 AND status = 'queued'
