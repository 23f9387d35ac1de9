-- The smallest rights of the connector's user. As an administrator of the database, after
-- CREATE USER flow PASSWORD '...' (as MD5, see deploy/README.md, "authentication method 13"):
--
--     psql -v ON_ERROR_STOP=1 -v user=flow -v database=analytics -v schema=acme -f deploy/grants.sql
--
-- The user owns the tables that it makes, so nothing is granted on tables. Tables that somebody else
-- made, such as those of an earlier connector with another user, need one more statement each:
-- ALTER TABLE schema.table OWNER TO flow.

-- Temporary tables hold keys that are looked up and rows that are merged.
GRANT TEMP ON DATABASE :"database" TO :"user";

-- The schema of the endpoint configuration, for the metadata table and for bindings that name no
-- schema of their own. A schema that other bindings name needs the same two.
GRANT USAGE, CREATE ON SCHEMA :"schema" TO :"user";

-- Only where the connector is to make schemas that do not exist: leave it out otherwise.
GRANT CREATE ON DATABASE :"database" TO :"user";
