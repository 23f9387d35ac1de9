DELETE FROM sales."Orders" WHERE flow_published_at < $1
