package org.ecrproxy.hapi;

import ca.uhn.fhir.batch2.jobs.bulkmodify.reindex.ReindexProvider;
import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.batch2.jobs.export.BulkDataExportProvider;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.binary.api.IBinaryStorageSvc;
import ca.uhn.fhir.jpa.binstore.MemoryBinaryStorageSvcImpl;
import ca.uhn.fhir.jpa.config.HapiJpaConfig;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.graphql.GraphQLProvider;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirPostgresDialect;
import ca.uhn.fhir.jpa.provider.DiffProvider;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.provider.ValueSetOperationProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.jpa.subscription.submit.config.SubscriptionSubmitterConfig;
import ca.uhn.fhir.rest.openapi.OpenApiInterceptor;
import ca.uhn.fhir.rest.server.HardcodedServerAddressStrategy;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.interceptor.ResponseHighlighterInterceptor;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import jakarta.persistence.EntityManagerFactory;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import javax.sql.DataSource;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.thread.QueuedThreadPool;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.ApplicationContext;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.context.annotation.Primary;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;

/**
 * A real HAPI FHIR R4 JPA server with HAPI's own defaults: one Jetty, one Spring context, one
 * database. It is the upstream of the integration tests, of trials and of benchmarks.
 *
 * <p>Every setting that differs from HAPI's default, and why:
 *
 * <table>
 * <tr><th>setting</th><th>default</th><th>here</th><th>reason</th></tr>
 * <tr><td>AllowExternalReferences</td><td>false</td><td>true</td>
 *     <td>case reports refer by absolute URL to the sender's server; else 400 on loading</td></tr>
 * <tr><td>EnforceReferentialIntegrityOnWrite, OnDelete</td><td>true</td><td>false</td>
 *     <td>published examples hold references whose targets are not part of them</td></tr>
 * <tr><td>TreatReferencesAsLogical</td><td>HL7's own URLs</td><td>also urn:uuid, urn:oid</td>
 *     <td>a resource taken out of a document keeps its urn:uuid references; else HAPI-0505</td></tr>
 * <tr><td>ResourceClientIdStrategy</td><td>ALPHANUMERIC</td><td>ANY</td>
 *     <td>ids that are all digits can be stored by PUT, as the sending systems have them</td></tr>
 * <tr><td>ResourceServerIdStrategy</td><td>SEQUENTIAL_NUMERIC</td><td>UUID</td>
 *     <td>HAPI demands it together with the previous one, so that ids cannot collide</td></tr>
 * </table>
 *
 * <p>Search reuse (60 s), page sizes, totals, background jobs, value-set expansion, and the
 * parameters and modifiers that HAPI has switched off (_filter, :contains, :of-type)
 * stay as HAPI has them.
 *
 * <p>Options, as {@code --name value} or {@code --name=value}: {@code host} (127.0.0.1),
 * {@code port} (8080), {@code base-url} (fixes the base of all links; by default that of the
 * request, which is HAPI's default), {@code openapi} (false; whether the server describes itself by
 * OpenAPI at {@code /fhir/api-docs}, which tools need that draw requests from it), {@code db},
 * {@code db-user}, {@code db-password} (a JDBC URL of H2 or PostgreSQL; by default H2 in memory;
 * each may come from HAPI_DB, HAPI_DB_USER, HAPI_DB_PASSWORD instead). When the server answers, it
 * prints a line that begins with READY.
 */
public final class HapiServer {

  private static final Map<String, String> DEFAULTS =
      Map.of(
          "host", "127.0.0.1",
          "port", "8080",
          "base-url", "",
          "openapi", "false",
          "db", "jdbc:h2:mem:fhir;DB_CLOSE_DELAY=-1",
          "db-user", "sa",
          "db-password", "");

  private HapiServer() {}

  /** Starts the server and blocks until it is stopped by a signal. */
  public static void main(String[] args) throws Exception {
    long started = System.nanoTime();
    Map<String, String> options;
    try {
      options = readOptions(args);
    } catch (IllegalArgumentException mistake) {
      System.err.println(mistake.getMessage());
      System.exit(2);
      return;
    }
    var context = new AnnotationConfigApplicationContext();
    context.registerBean("options", Options.class, () -> new Options(options));
    context.register(JpaSetup.class);
    context.refresh();
    RestfulServer fhir = restfulServer(context, options);

    Server jetty = new Server(new QueuedThreadPool());
    ServerConnector connector = new ServerConnector(jetty);
    connector.setHost(options.get("host"));
    connector.setPort(Integer.parseInt(options.get("port")));
    jetty.addConnector(connector);
    ServletContextHandler web = new ServletContextHandler("/");
    web.addServlet(new ServletHolder(fhir), "/fhir/*");
    jetty.setHandler(web);
    jetty.setStopAtShutdown(true);
    Runtime.getRuntime().addShutdownHook(new Thread(context::close));
    jetty.start();
    System.out.printf(
        "READY http://%s:%s/fhir in %.1f s%n",
        options.get("host"), options.get("port"), (System.nanoTime() - started) / 1e9);
    jetty.join();
  }

  /** Command line over environment over defaults; an unknown option is an error. */
  static Map<String, String> readOptions(String[] args) {
    Map<String, String> options = new HashMap<>(DEFAULTS);
    for (String name : DEFAULTS.keySet()) {
      String value = System.getenv("HAPI_" + name.toUpperCase().replace('-', '_'));
      if (value != null && !value.isEmpty() && name.startsWith("db")) options.put(name, value);
    }
    for (int i = 0; i < args.length; i++) {
      int equals = args[i].indexOf('=');
      String name = equals < 0 ? args[i] : args[i].substring(0, equals);
      if (!name.startsWith("--") || !DEFAULTS.containsKey(name.substring(2))) {
        throw new IllegalArgumentException("unknown option " + name + "; known: " + DEFAULTS.keySet());
      }
      if (equals < 0 && i + 1 == args.length) {
        throw new IllegalArgumentException("option " + name + " needs a value");
      }
      options.put(name.substring(2), equals < 0 ? args[++i] : args[i].substring(equals + 1));
    }
    return options;
  }

  /** HAPI's servlet with all resource types and the operations of the widely used starter. */
  private static RestfulServer restfulServer(
      ApplicationContext context, Map<String, String> options) {
    IFhirSystemDao<?, ?> system = context.getBean(IFhirSystemDao.class);
    RestfulServer server = new RestfulServer(system.getContext());
    server.registerProviders(context.getBean(ResourceProviderFactory.class).createProviders());
    server.registerProvider(context.getBean(IJpaSystemProvider.class));
    server.registerProvider(context.getBean(ValueSetOperationProvider.class));
    server.registerProvider(context.getBean(DiffProvider.class));
    server.registerProvider(context.getBean(BulkDataExportProvider.class));
    server.registerProvider(context.getBean(GraphQLProvider.class));
    server.registerProvider(context.getBean(ReindexProvider.class));
    server.setServerConformanceProvider(
        new JpaCapabilityStatementProvider(
            server,
            system,
            context.getBean(JpaStorageSettings.class),
            context.getBean(ISearchParamRegistry.class),
            context.getBean("myJpaValidationSupportChain", IValidationSupport.class)));
    server.setPagingProvider(context.getBean(DatabaseBackedPagingProvider.class));
    server.registerInterceptor(new ResponseHighlighterInterceptor());
    if (options.get("openapi").equals("true")) {
      server.registerInterceptor(new OpenApiInterceptor());
    }
    String base = options.get("base-url");
    if (!base.isEmpty()) {
      server.setServerAddressStrategy(new HardcodedServerAddressStrategy(base));
    }
    return server;
  }

  /** The options as a bean. */
  record Options(Map<String, String> values) {
    String get(String name) {
      return values.get(name);
    }
  }

  /** The Spring context: HAPI's configurations, and the beans that they leave to the deployment. */
  @Configuration
  @Import({
    JpaR4Config.class, // FHIR context, DAOs, resource providers, search, validation
    HapiJpaConfig.class, // paging, deletion of stale searches, cached counts
    JpaBatch2Config.class, // jobs: export, reindex, expunge
    Batch2JobsConfig.class,
    ThreadPoolFactoryConfig.class,
    SubscriptionChannelConfig.class, // the broker that jobs use
    SubscriptionSubmitterConfig.class,
  })
  static class JpaSetup {

    @Bean
    public DataSource dataSource(Options options) {
      HikariConfig pool = new HikariConfig();
      pool.setJdbcUrl(options.get("db"));
      pool.setUsername(options.get("db-user"));
      pool.setPassword(options.get("db-password"));
      pool.setMaximumPoolSize(20); // jobs hold some of them; Hikari's 10 can run dry
      return new HikariDataSource(pool);
    }

    @Bean
    @Primary
    public LocalContainerEntityManagerFactoryBean entityManagerFactory(
        ConfigurableListableBeanFactory beans,
        FhirContext fhir,
        JpaStorageSettings settings,
        DataSource database,
        Options options) {
      Class<?> dialect =
          options.get("db").startsWith("jdbc:postgresql")
              ? HapiFhirPostgresDialect.class
              : HapiFhirH2Dialect.class;
      Properties properties = new Properties();
      properties.put("hibernate.dialect", dialect.getName());
      properties.put("hibernate.hbm2ddl.auto", "update");
      properties.put("hibernate.jdbc.batch_size", "20");
      properties.put("hibernate.cache.use_query_cache", "false");
      properties.put("hibernate.cache.use_second_level_cache", "false");
      properties.put("hibernate.search.enabled", "false"); // no full-text index, HAPI's default
      var factory = HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, fhir, settings);
      factory.setPersistenceUnitName("HAPI_PU");
      factory.setJpaProperties(properties);
      factory.setDataSource(database);
      return factory;
    }

    @Bean
    @Primary
    public JpaTransactionManager transactionManager(EntityManagerFactory factory) {
      return new JpaTransactionManager(factory);
    }

    /** HAPI's defaults but for the table in this file's first comment. */
    @Bean
    public JpaStorageSettings storageSettings() {
      JpaStorageSettings settings = new JpaStorageSettings();
      settings.setAllowExternalReferences(true);
      settings.setEnforceReferentialIntegrityOnWrite(false);
      settings.setEnforceReferentialIntegrityOnDelete(false);
      settings.addTreatReferencesAsLogical("urn:uuid:*");
      settings.addTreatReferencesAsLogical("urn:oid:*");
      settings.setResourceClientIdStrategy(JpaStorageSettings.ClientIdStrategyEnum.ANY);
      settings.setResourceServerIdStrategy(JpaStorageSettings.IdStrategyEnum.UUID);
      return settings;
    }

    @Bean
    public PartitionSettings partitionSettings() {
      return new PartitionSettings();
    }

    @Bean
    public SubscriptionSettings subscriptionSettings() {
      return new SubscriptionSettings();
    }

    @Bean
    public IBinaryStorageSvc binaryStorage() {
      return new MemoryBinaryStorageSvcImpl();
    }
  }
}
