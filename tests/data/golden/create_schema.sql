CREATE SCHEMA "Sales ""x""";
