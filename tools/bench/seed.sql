-- :contacts contacts in HubSpot's order of creation, each with one deal, each deal with one ticket.
WITH numbers AS (SELECT generate_series(1, :contacts) AS n),
portal AS (SELECT id AS portal_id FROM portals),
contact AS (
    INSERT INTO records (portal_id, object_type, hs_object_id, properties, state,
                         hs_created_at, hs_modified_at)
    SELECT portal_id, 'contacts', n::text, jsonb_build_object(
        'email', 'person' || n || '@example.com', 'firstname', 'First' || n,
        'lastname', 'Last' || n, 'phone', '+1 555 ' || n, 'hs_object_id', n::text,
        'createdate', '2026-01-01T00:00:00.001Z', 'lastmodifieddate', '2026-01-02T00:00:00.001Z'
    ), 'synced', timestamptz '2026-01-01' + n * interval '1 second',
        timestamptz '2026-01-02' + n * interval '1 second'
    FROM numbers, portal
    RETURNING id, hs_object_id
),
deal AS (
    INSERT INTO records (portal_id, object_type, hs_object_id, properties, state)
    SELECT portal_id, 'deals', n::text, jsonb_build_object(
        'dealname', 'Deal ' || n, 'dealstage', 'qualifiedtobuy', 'pipeline', 'default',
        'amount', (n * 10)::text, 'closedate', '2026-12-31T00:00:00Z', 'hs_object_id', n::text,
        'createdate', '2026-01-01T00:00:00.001Z', 'hs_lastmodifieddate', '2026-01-02T00:00:00.001Z'
    ), 'synced'
    FROM numbers, portal
    RETURNING id, hs_object_id
),
ticket AS (
    INSERT INTO records (portal_id, object_type, hs_object_id, properties, state)
    SELECT portal_id, 'tickets', n::text, jsonb_build_object(
        'subject', 'Ticket ' || n, 'content', 'It stutters.', 'hs_pipeline', '0',
        'hs_ticket_category', 'PRODUCT_ISSUE', 'hs_pipeline_stage', '1',
        'hs_ticket_priority', 'HIGH', 'hs_object_id', n::text,
        'createdate', '2026-01-01T00:00:00.001Z', 'hs_lastmodifieddate', '2026-01-02T00:00:00.001Z'
    ), 'synced'
    FROM numbers, portal
    RETURNING id, hs_object_id
)
INSERT INTO associations (portal_id, type_id, from_id, to_id, state)
SELECT portal_id, 4, contact.id, deal.id, 'synced'
FROM portal, contact JOIN deal USING (hs_object_id)
UNION ALL
SELECT portal_id, 27, deal.id, ticket.id, 'synced'
FROM portal, deal JOIN ticket USING (hs_object_id)
